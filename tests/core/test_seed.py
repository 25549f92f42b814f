"""The seed disk: all that a machine learns about itself, and nothing that another one could have too."""

from __future__ import annotations

import dataclasses
import io
import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from garage.core.seed import (
    AUTHORIZED_KEYS,
    INSTANCE,
    TAKE,
    WAIT,
    Identity,
    Place,
    authorized_keys_text,
    guest_machine_id,
    seed_files,
    spare_files,
    take_input,
)

WHO = Identity(
    machine_id="0123456789abcdef0123",
    hostname="arm",
    fqdn="arm.robots.home.garage.internal",
    host_key_private="-----BEGIN OPENSSH PRIVATE KEY-----\nsecret\n-----END OPENSSH PRIVATE KEY-----\n",
    host_key_public="ssh-ed25519 AAAA arm",
    authorized_keys=("ssh-ed25519 BBBB alice@laptop", "ssh-ed25519 CCCC bob@laptop"),
)


def unpacked(files: dict[str, bytes]) -> dict[str, tuple[tarfile.TarInfo, str]]:
    """Path → (entry, text) of the identity."""
    with tarfile.open(fileobj=io.BytesIO(files["identity.tar"])) as archive:
        found = {}
        for entry in archive:
            data = archive.extractfile(entry)
            assert data is not None, "plain files only"
            found[entry.name] = (entry, data.read().decode())
        return found


def test_the_identity_is_complete() -> None:
    files = {path: text for path, (_, text) in unpacked(seed_files(WHO)).items()}
    assert files["etc/hostname"] == "arm\n"
    assert "127.0.1.1 arm.robots.home.garage.internal arm\n" in files["etc/hosts"]
    assert files["etc/ssh/ssh_host_ed25519_key"] == WHO.host_key_private
    assert files[AUTHORIZED_KEYS.lstrip("/")].splitlines() == list(WHO.authorized_keys)


def test_the_host_key_is_roots_alone() -> None:
    """sshd refuses a host key that others may read, and the port would stay closed."""
    entry, _ = unpacked(seed_files(WHO))["etc/ssh/ssh_host_ed25519_key"]
    assert entry.mode == 0o600
    assert all(entry.uid == entry.gid == 0 for entry, _ in unpacked(seed_files(WHO)).values())


def test_paths_stay_below_the_root() -> None:
    for path in unpacked(seed_files(WHO)):
        assert not path.startswith("/")
        assert ".." not in path.split("/")


def test_cloud_init_stays_out_unless_there_is_work_for_it() -> None:
    disabled = "etc/cloud/cloud-init.disabled"
    assert disabled in unpacked(seed_files(WHO))
    for text in ("#cloud-config\nruncmd: [id]\n", "#!/bin/sh\nid\n", ""):
        assert disabled not in unpacked(seed_files(dataclasses.replace(WHO, user_data=text)))


def test_user_data_is_the_users_to_the_letter() -> None:
    text = "#cloud-config\npackages: [jq]  # ロボット\n"
    assert seed_files(dataclasses.replace(WHO, user_data=text))["user-data"].decode() == text


def test_cloud_init_never_makes_or_drops_host_keys() -> None:
    vendor = seed_files(WHO)["vendor-data"].decode()
    assert vendor.startswith("#cloud-config\n")
    config = json.loads(vendor.split("\n", 1)[1])
    assert config["ssh_deletekeys"] is False
    assert config["ssh_genkeytypes"] == []
    assert config["ssh_keys"]["ed25519_public"] == WHO.host_key_public


def test_the_network_of_the_first_seconds() -> None:
    addresses = {"ipv4": "10.31.0.16", "gateway": "10.31.0.1", "ipv6": "fd31::10", "gateway6": "fd31::1"}
    files = seed_files(dataclasses.replace(WHO, **addresses))
    assert (files["ipv4"], files["ipv6"]) == (b"10.31.0.16 10.31.0.1\n", b"fd31::10 fd31::1\n")
    assert files["resolv.conf"] == b"nameserver 10.31.0.1\nsearch robots.home.garage.internal\n"
    assert (seed_files(WHO)["ipv4"], seed_files(WHO)["ipv6"]) == (b"", b"")


def test_the_instance_is_the_machine() -> None:
    files = seed_files(WHO)
    assert json.loads(files["meta-data"]) == {"instance-id": WHO.machine_id, "local-hostname": "arm"}
    assert files["instance"].decode() == WHO.machine_id


def test_the_same_machine_gives_the_same_bytes_and_another_one_others() -> None:
    assert seed_files(WHO) == seed_files(dataclasses.replace(WHO))
    assert guest_machine_id("a") != guest_machine_id("b")
    assert len(guest_machine_id("a")) == 32
    assert int(guest_machine_id("a"), 16)


def test_no_key_means_an_empty_file() -> None:
    assert authorized_keys_text(()) == ""
    assert unpacked(seed_files(dataclasses.replace(WHO, authorized_keys=())))[AUTHORIZED_KEYS.lstrip("/")][1] == ""


def taken(root: Path, who: Identity) -> list[str]:
    """What a pool machine runs when it is taken, in a folder instead of `/`; the programs that it called."""
    for path in ("etc/ssh/authorized_keys.d", "etc/cloud/cloud.cfg.d", "var/lib/cloud/seed/nocloud", "var/lib/garage"):
        (root / path).mkdir(parents=True)
    for path in ("dev", "proc/sys/kernel", "run/cloud-init", "run/garage-ssh.d", "bin"):
        (root / path).mkdir(parents=True)
    for name in ("rm", "date", "sleep", "resolvectl", "sync", "systemctl"):
        (root / "bin" / name).write_text(f'#!/bin/sh\necho "{name} $*" >>{root}/calls\n')
        (root / "bin" / name).chmod(0o755)
    (root / "run/sshd.pid").touch()
    script = take_input(who, b"\1" * 64, 12.5).decode()
    for place in ("etc", "var", "dev", "proc", "run"):
        script = script.replace(f" /{place}/", f" {root}/{place}/").replace(f">/{place}/", f">{root}/{place}/")
    env = {"PATH": f"{root}/bin"}
    done = subprocess.run(["/bin/dash", "-c", TAKE], input=script, text=True, env=env, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return (root / "calls").read_text().splitlines()


def modes(root: Path) -> dict[str, int]:
    return {str(path.relative_to(root)): path.stat().st_mode & 0o777 for path in root.rglob("*") if path.is_file()}


def test_a_taken_machine_becomes_who_the_seed_would_have_made_it(tmp_path: Path) -> None:
    calls = taken(tmp_path, WHO)
    for path, (entry, text) in unpacked(seed_files(WHO)).items():
        if path not in ("etc/machine-id", "etc/cloud/cloud-init.disabled"):  # the pool machine's own, see below
            assert (tmp_path / path).read_text() == text
            assert modes(tmp_path)[path] == entry.mode
    assert (tmp_path / INSTANCE).read_text() == WHO.machine_id
    assert (tmp_path / WAIT.lstrip("/")).exists(), "sshd goes on"
    assert calls[0] == "date -s @12.500", "no program starts before that"
    assert not any("systemctl" in call for call in calls)


@pytest.mark.parametrize(
    "text", ['#cloud-config\nruncmd: ["it\'s $(reboot) `x` \\\\ %s こんにちは"]\n', "#!/bin/sh\nexit 1\n"]
)
def test_late_user_data_is_there_as_it_was_given_before_a_login_is_possible(tmp_path: Path, text: str) -> None:
    calls = taken(tmp_path, dataclasses.replace(WHO, user_data=text))
    seed = tmp_path / "var/lib/cloud/seed/nocloud"
    assert (seed / "user-data").read_text() == text
    assert modes(seed) == {"user-data": 0o600, "meta-data": 0o644}
    assert json.loads((seed / "meta-data").read_text()) == json.loads(seed_files(WHO)["meta-data"])
    assert calls[0].startswith("rm -f ")
    assert calls[0].count("disabled") == 2
    assert (tmp_path / "run/cloud-init/enabled").exists()
    assert calls[-1] == "systemctl --no-block start cloud-init.target"


def test_a_pool_machine_knows_nothing_that_is_anybodys() -> None:
    """All of its seed is made of its own number and its place in the network, and the rest it shares with what it will be."""
    files = spare_files(WHO.machine_id, Place("10.0.0.2", "10.0.0.1", "fd00::2", "fd00::1"))
    held = {path: text for path, (_, text) in unpacked(files).items()}
    assert set(held) == {"etc/hostname", "etc/hosts", "etc/machine-id", "etc/cloud/cloud-init.disabled"}
    later = {path: text for path, (_, text) in unpacked(seed_files(WHO)).items()}
    for path in ("etc/machine-id", "etc/cloud/cloud-init.disabled"):
        assert held[path] == later[path]
    everything = b"".join([*files.values(), *(text.encode() for text in held.values())])
    for secret in (WHO.host_key_private, WHO.host_key_public, *WHO.authorized_keys, WHO.hostname):
        assert secret.encode() not in everything


def test_an_image_that_is_not_ours_learns_everything_from_cloud_init() -> None:
    """Its network, and the user by whom the garage's people log in, whatever it calls its own."""
    files = seed_files(dataclasses.replace(WHO, own_mac="52:67:00:00:00:01"))
    network = json.loads(files["network-config"])
    [card] = network["ethernets"].values()
    assert (network["version"], card) == (
        2,
        {"match": {"macaddress": "52:67:00:00:00:01"}, "dhcp4": True, "dhcp6": True},
    )
    config = json.loads(files["vendor-data"].decode().split("\n", 1)[1])
    default, user = config["users"]
    assert (default, user["name"], user["ssh_authorized_keys"]) == ("default", "debian", list(WHO.authorized_keys))
    assert config["ssh_keys"]["ed25519_private"] == WHO.host_key_private
    assert b"users" not in seed_files(WHO)["vendor-data"]
