"""What netd refuses: specs with a valid signature and wrong content, damaged policy files, settings that others could write."""

from __future__ import annotations

import ipaddress
import itertools
import json
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from netd import config
from netd.core.checks import check
from netd.core.floor import SPECIAL4, SPECIAL6, Allowed, make_floor, parse_allowed, parse_networks
from netd.errors import NetdError
from netd.wire import Envelope, MachineName, NodeSpec, SpecError, seal, unseal
from tests.core.test_netd_plan import BRIDGE, machine

EMPTY = make_floor([], [])


def spec(*numbers: int, version: int = 5, **bridge: str) -> NodeSpec:
    return NodeSpec(
        node="node1",
        instance="tst",
        version=version,
        bridge=msgspec.structs.replace(BRIDGE, **bridge),
        domain="home.garage.internal",
        machines=tuple(machine(n) for n in numbers),
    )


def refused(wanted: NodeSpec, *, in_force: int = 0, networks: tuple[str, ...] = ()) -> str:
    with pytest.raises(SpecError) as caught:
        check(wanted, instance="tst", in_force=in_force, floor=make_floor(networks, []))
    return f"{caught.value.code}: {caught.value.text}"


def test_a_good_spec_passes_and_the_same_version_again() -> None:
    check(spec(16, 17), instance="tst", in_force=5, floor=EMPTY)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, ""), ({"name": "m16"}, "name"), ({"ipv4": "10.31.0.16"}, "address"), ({"ipv4": "10.99.0.1"}, "outside"),
        ({"ipv6": "fd99::1"}, "outside"),
    ],
)  # fmt: skip
def test_names_of_other_nodes_machines_are_held_to_the_same(change: dict[str, str], said: str) -> None:
    named = {"name": "there", "project": "alice", "ipv4": "10.31.0.99", "ipv6": "fd31:4:5::99", **change}
    wanted = msgspec.structs.replace(spec(16, 17), elsewhere=(MachineName(**named),))
    if said:
        assert said in refused(wanted)
    else:
        check(wanted, instance="tst", in_force=5, floor=EMPTY)


def test_an_older_spec_is_refused() -> None:
    assert refused(spec(version=4), in_force=5).startswith("version: ")


@pytest.mark.parametrize(
    "bridge",
    [
        {"site_ipv4": "0.0.0.0/0"},
        {"site_ipv4": "192.0.2.0/24", "ipv4": "192.0.2.1"},
        {"site_ipv4": "10.31.0.1/20"},
        {"site_ipv6": "2001:db8::/48", "ipv6": "2001:db8::1"},
        {"site_ipv6": "::/0"},
        {"ipv4": "10.99.0.1"},
        {"ipv6": "fd99::1"},
    ],
)
def test_only_a_private_prefix_around_its_gateway_is_a_sites(bridge: dict[str, str]) -> None:
    assert refused(spec(**bridge)).startswith("content: ")


@pytest.mark.parametrize("name", ["eth0", "gbtsu", "docker0"])
def test_a_spec_can_take_no_other_device_for_its_bridge(name: str) -> None:
    assert "bridge" in refused(spec(name=name))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ipv6", "fd31:4:5::5%x }; flush ruleset"),
        ("ipv4", "10.31.0.5\n"),
        ("name", "one\n"),
        ("tap", "gttst1\n"),
        ("tap", "gttst1*"),
        ("mac", "52:67:00:00:00:01\n"),
        ("project", 'alice"; drop'),
    ],
)
def test_no_text_of_a_spec_can_say_more_than_its_field(field: str, value: str) -> None:
    """Signed or not: no spec writes lines of its own into rules or configurations."""
    key = Ed25519PrivateKey.generate()
    raw = json.loads(msgspec.json.encode(spec(16)))
    assert unseal(seal(spec(16), key), key.public_key(), node="node1") == spec(16)
    raw["machines"][0][field] = value
    payload = json.dumps(raw).encode()
    sealed = msgspec.json.encode(Envelope(payload=payload, signature=key.sign(payload)))
    with pytest.raises(SpecError) as caught:
        unseal(sealed, key.public_key(), node="node1")
    assert caught.value.code == "schema"


@pytest.mark.parametrize("network", ["10.0.0.0/8", "10.31.3.0/24", "fd31:4:5:6::/64", "fc00::/7"])
def test_a_prefix_that_overlaps_the_office_or_an_uplink_is_refused(network: str) -> None:
    assert network in refused(spec(), networks=(network,))


def test_machines_that_contradict_each_other_are_refused() -> None:
    one = machine(16)
    for change in ({"mac": one.mac}, {"tap": one.tap}, {"ipv4": one.ipv4}, {"ipv6": one.ipv6}, {"name": one.name}):
        other = msgspec.structs.replace(machine(17), **change)
        wanted = msgspec.structs.replace(spec(), machines=(one, other))
        assert "twice" in refused(wanted)


@pytest.mark.parametrize(
    "change",
    [{"ipv4": BRIDGE.ipv4}, {"ipv6": "fd31:4:5:0::1"}, {"ipv4": "192.0.2.5"}, {"ipv6": "2001:db8::5"}, {"tap": "eth0"}],
)
def test_a_machine_is_neither_the_gateway_nor_a_stranger(change: dict[str, str]) -> None:
    wanted = msgspec.structs.replace(spec(), machines=(msgspec.structs.replace(machine(16), **change),))
    assert refused(wanted).startswith("content: ")


def test_the_floor_covers_every_special_purpose_range() -> None:
    for version, ranges in ((4, SPECIAL4), (6, SPECIAL6)):
        closed = [ipaddress.ip_network(net) for net in EMPTY.of(version)]
        for text in ranges:
            special = ipaddress.ip_network(text)
            assert any(special.subnet_of(net) for net in closed)  # type: ignore[arg-type]


@given(st.lists(st.ip_addresses(v=4).map(lambda a: f"{a}/24")))
def test_the_floors_intervals_never_overlap(networks: list[str]) -> None:
    """nft refuses overlapping intervals of one set, and with them the whole transaction."""
    closed = sorted(ipaddress.IPv4Network(net) for net in make_floor(networks, []).of(4))
    assert all(one.broadcast_address < two.network_address for one, two in itertools.pairwise(closed))


def test_policy_files_have_comments_and_say_where_they_are_wrong() -> None:
    assert parse_networks("# office\n192.168.10.0/24  # floor 2\n\n2001:db8:1::/48\n", name="o") == [
        "192.168.10.0/24",
        "2001:db8:1::/48",
    ]
    assert parse_allowed("10.1.2.3 tcp 443\n", name="a") == [Allowed("10.1.2.3", "tcp", 443)]
    for text in ("10.1.2.3", "10.1.2.0/24 tcp 443", "10.1.2.3 tcp 0", "10.1.2.3 icmp 1", "mirror tcp 80"):
        with pytest.raises(NetdError, match="line 2"):
            parse_allowed(f"# first\n{text}\n", name="allow.networks")


def test_settings_that_others_can_write_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "netd.toml"
    values = {"node": "node1", "instance": "tst", "controller_url": "http://127.0.0.1:1", "token_file": "/t"}
    values |= {"controller_key": "/k", "state_dir": "/s", "office_file": "/o", "allow_file": "/a"}
    file.write_text("".join(f'{key} = "{value}"\n' for key, value in values.items()))
    file.chmod(0o600)
    assert config.load(file).state_dir == Path("/s")
    file.chmod(0o622)
    with pytest.raises(NetdError, match="writable by others"):
        config.load(file)
    file.chmod(0o600)
    file.write_text('node = 7\nsurprise = "x"\n')
    with pytest.raises(NetdError):
        config.load(file)
