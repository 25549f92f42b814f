"""What people type: keys, user-data, names, rooms."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from garage.core import names, sshkeys, userdata
from garage.core.placement import Room, shortfall
from garage.core.types import Demand, NodeFacts
from garage.errors import GarageError
from tests.conftest import ALICE_KEY


def test_a_good_key_is_taken_with_the_fingerprint_of_ssh_keygen() -> None:
    line, fingerprint = sshkeys.check_public_key(f"  {ALICE_KEY}\n")
    assert line == ALICE_KEY
    assert fingerprint == sshkeys.fingerprint(ALICE_KEY.split()[1])
    assert fingerprint.startswith("SHA256:")
    assert len(fingerprint) == 7 + 43


def test_a_comment_cannot_carry_anything_strange() -> None:
    line, _ = sshkeys.check_public_key(ALICE_KEY + " \x1b[31m$(reboot)")
    assert line == ALICE_KEY + " 31mreboot"


def short_rsa() -> str:
    key = rsa.generate_private_key(65537, 1024).public_key()
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def dsa_key() -> str:
    key = dsa.generate_private_key(1024).public_key()
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        ALICE_KEY.replace("AAAAC3", "AAAAC4"),
        f"{ALICE_KEY}\n{ALICE_KEY}",
        f'command="reboot" {ALICE_KEY}',
        "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA",
        "sk-ssh-ed25519@openssh.com !!!!",
        ALICE_KEY.replace("AAAAC3", "AAAAéC3"),
        ALICE_KEY.replace("AAAAC3", 'AA,A"AC3'),
        "ssh-rsa " + "A" * 5000,
        short_rsa(),
        dsa_key(),
    ],
)
def test_bad_keys_are_refused_with_a_hint(text: str) -> None:
    with pytest.raises(GarageError) as caught:
        sshkeys.check_public_key(text)
    assert (caught.value.code, caught.value.pointer) == ("invalid_field", "/public_key")
    assert caught.value.hint


def test_a_host_key_is_made_from_its_seed_alone() -> None:
    private, public = sshkeys.make_host_key(b"7" * 32, "vm7")
    assert sshkeys.make_host_key(b"7" * 32, "vm7")[1] == public
    assert private.startswith(b"-----BEGIN OPENSSH PRIVATE KEY-----")
    assert public.endswith(" vm7")
    assert sshkeys.check_public_key(public)[0] == public


@given(st.text(max_size=200))
def test_any_text_is_user_data_or_a_clear_error(text: str) -> None:
    try:
        assert userdata.check_user_data(text) == text
    except GarageError as error:
        assert (error.code, error.pointer) == ("invalid_field", "/user_data")
        assert error.hint


@given(st.text(max_size=300))
def test_any_cloud_config_is_a_mapping_or_a_clear_error(text: str) -> None:
    try:
        userdata.check_user_data("#cloud-config\n" + text)
    except GarageError as error:
        assert error.code == "invalid_field"


def test_deep_yaml_is_refused_not_a_crash() -> None:
    with pytest.raises(GarageError):
        userdata.check_user_data("#cloud-config\n" + "[" * 20_000)
    with pytest.raises(GarageError, match="line 2: nested too deeply"):
        userdata.check_user_data("#cloud-config\n" + "[" * 32_000 + "]" * 32_000)


def test_yaml_that_would_fill_the_memory_is_only_looked_at() -> None:
    bomb = "a0: &a0 {x: 1}\n"
    bomb += "".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}\n" for i in range(1, 30))
    assert userdata.check_user_data("#cloud-config\n" + bomb)


@pytest.mark.parametrize("value", ["!!timestamp x", "!!int ''", "!!bool x", "!!float ''", "1" + ":00" * 400 + ".0"])
def test_odd_yaml_scalars_are_no_defect_of_ours(value: str) -> None:
    userdata.check_user_data(f"#cloud-config\na: {value}\n")


@pytest.mark.parametrize(
    "text", ["a: !foo 1", "a: !!python/object:os.x {}", "{{ name }}: 1", "a: [{? [b] : 1}]", "- 1"]
)
def test_yaml_that_cloud_init_would_not_take_is_refused(text: str) -> None:
    with pytest.raises(GarageError) as caught:
        userdata.check_user_data(f"#cloud-config\n{text}\n")
    assert caught.value.pointer == "/user_data"


@given(st.text(max_size=40))
def test_a_name_that_is_taken_is_a_dns_label(text: str) -> None:
    try:
        name = names.check_label(text, field="name")
    except GarageError as error:
        assert error.pointer == "/name"
    else:
        assert 1 <= len(name) <= 32
        assert name.encode("idna").decode() == name


def room(
    name: str = "lab1",
    memory: int = 8192,
    used: int = 0,
    disk: float = 50.0,
    promised: int = 0,
    available: int | None = None,
) -> Room:
    facts = NodeFacts(4, memory, disk, 100.0, "tcg", available)
    return Room(name, facts, Demand(0, used, promised), 1024, 5.0, 4.0, 2.0)


@pytest.mark.parametrize(
    ("where", "demand", "lacks"),
    [
        (room(), Demand(2, 2048, 10), None),
        (room(used=6000), Demand(2, 2048, 10), "memory"),
        (room(), Demand(17, 512, 10), "vcpus"),
        (room(disk=4.9), Demand(1, 512, 1), "disk"),
        (room(promised=180), Demand(1, 512, 10), None),
        (room(promised=181), Demand(1, 512, 10), "promised"),
        (room(available=1024 + 2048), Demand(1, 2048, 10), None),
        (room(available=1024 + 2047), Demand(1, 2048, 10), "memory"),
    ],
)
def test_what_a_room_lacks(where: Room, demand: Demand, lacks: str | None) -> None:
    assert shortfall(where, demand) == lacks
