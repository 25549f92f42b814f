"""netd's decisions: state in, exact changes out; a second plan is empty."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netd.core import nft_text
from netd.core.desired import Desired, link_local
from netd.core.floor import Allowed, make_floor
from netd.core.plan import LAST, Change, Observed, plan, settled
from netd.wire import Bridge, MachineNet, NodeSpec

STATE = Path("/state")
BRIDGE = Bridge(
    name="gbtst",
    mac="52:67:00:00:00:00",
    ipv4="10.31.0.1",
    ipv6="fd31:4:5::1",
    site_ipv4="10.31.0.0/20",
    site_ipv6="fd31:4:5::/48",
)
FLOOR = make_floor(["192.168.77.0/24"], [Allowed("192.168.77.7", "tcp", 8443)])


def machine(number: int) -> MachineNet:
    return MachineNet(
        id=f"id{number}",
        tap=f"gttst{number}",
        mac=f"52:67:00:00:{number >> 8:02x}:{number & 255:02x}",
        ipv4=f"10.31.{number >> 8}.{number & 255}",
        ipv6=f"fd31:4:5::{number:x}",
        name=f"m{number}",
        project="alice",
    )


def desired(*numbers: int, domain: str = "home.garage.internal") -> Desired:
    machines = tuple(machine(n) for n in numbers)
    spec = NodeSpec(node="node1", instance="tst", version=1, bridge=BRIDGE, domain=domain, machines=machines)
    return Desired(spec, FLOOR)


def after(wanted: Desired, seen: Observed | None = None) -> Observed:
    return settled(wanted, seen or Observed(), STATE)


def texts(changes: list[Change], kind: str) -> list[str]:
    return [change.text for change in changes if change.kind == kind]


numbers = st.sets(st.integers(16, 4000), max_size=8)


@given(numbers, numbers)
def test_applied_once_nothing_is_left_to_do(before: set[int], wanted: set[int]) -> None:
    """Whatever was there: after a plan the next one is empty. This is what lets netd skip the look at the kernel."""
    seen = after(desired(*before))
    assert plan(desired(*wanted), after(desired(*wanted), seen), STATE) == []


def test_filters_stand_before_the_bridge_exists() -> None:
    changes = plan(desired(16), Observed(), STATE)
    kinds = [change.kind for change in changes]
    bridge = next(i for i, change in enumerate(changes) if change.text.startswith("link add gbtst"))
    up = next(i for i, change in enumerate(changes) if change.text == "link set gbtst up")
    assert kinds[0] == "nft"
    assert bridge < up
    accept_ra = next(i for i, change in enumerate(changes) if change.text == "net/ipv6/conf/gbtst/accept_ra=0")
    assert bridge < accept_ra < up
    assert all(i > up for i, kind in enumerate(kinds) if kind == "start")


def test_one_more_machine_is_a_small_change() -> None:
    changes = plan(desired(16, 17), after(desired(16)), STATE)
    assert texts(changes, "nft") == [
        "add element bridge garage_tst macs { gttst17 . 52:67:00:00:00:11 }\n"
        "add element bridge garage_tst own4 { gttst17 . 52:67:00:00:00:11 . 0.0.0.0, "
        "gttst17 . 52:67:00:00:00:11 . 10.31.0.17 }\n"
        "add element bridge garage_tst own6 { gttst17 . 52:67:00:00:00:11 . ::, "
        "gttst17 . 52:67:00:00:00:11 . fd31:4:5::11, gttst17 . 52:67:00:00:00:11 . fe80::5067:ff:fe00:11 }\n"
    ]
    assert texts(changes, "ip") == [
        "neigh replace 10.31.0.17 lladdr 52:67:00:00:00:11 dev gbtst nud permanent",
        "neigh replace fd31:4:5::11 lladdr 52:67:00:00:00:11 dev gbtst nud permanent",
        "neigh replace fe80::5067:ff:fe00:11 lladdr 52:67:00:00:00:11 dev gbtst nud permanent",
        "route replace 10.31.0.17 dev gbtst",
        "route replace fd31:4:5::11 dev gbtst",
    ]
    assert texts(changes, "reload") == ["dns"]
    assert not texts(changes, "sysctl")


def test_a_machine_that_is_gone_loses_its_elements_before_its_routes() -> None:
    changes = plan(desired(), after(desired(16)), STATE)
    assert changes[0].text.startswith("delete element bridge garage_tst macs { gttst16 ")
    assert texts(changes, "ip") == [
        "route del 10.31.0.16 dev gbtst",
        "route del fd31:4:5::10 dev gbtst",
        "neigh del 10.31.0.16 dev gbtst",
        "neigh del fd31:4:5::10 dev gbtst",
        "neigh del fe80::5067:ff:fe00:10 dev gbtst",
    ]


def test_a_changed_floor_refills_the_tables_in_one_transaction() -> None:
    wanted, tighter = desired(16), tightened(desired(16, 17))
    changes = plan(tighter, after(wanted), STATE)
    (text,) = texts(changes, "nft")
    for family in ("bridge", "inet"):
        assert f"flush table {family} garage_tst\n" in text
        assert f"delete chain {family} garage_tst skeleton_{nft_text.skeleton_id(wanted)}\n" in text
    assert "delete table" not in text
    assert "add element inet garage_tst floor4 { 203.0.114.0/24 }\n" in text, "what stays is left alone"
    assert "delete element inet garage_tst allowed4 { 192.168.77.7 . tcp . 8443 }\n" in text
    assert "flush set" not in text
    assert "add element bridge garage_tst macs { gttst17 . " in text, "the new machine is in the same transaction"
    assert "gttst16" not in text, "what counts for an old one goes on counting"
    assert "flush ruleset" not in text


def test_sets_of_which_nothing_is_known_are_filled_anew() -> None:
    """Only then: for a moment some kernels find none of a flushed set's elements."""
    seen = dataclasses.replace(after(desired(16)), fixed=None)
    (text,) = texts(plan(tightened(desired(16)), seen, STATE), "nft")
    for name in ("floor4", "floor6", "allowed4", "overlay4"):
        assert f"flush set inet garage_tst {name}\n" in text
    assert "add element inet garage_tst floor4 { 0.0.0.0/8, " in text
    assert "flush set inet garage_tst connects" not in text


def tightened(wanted: Desired) -> Desired:
    return dataclasses.replace(wanted, floor=make_floor(["203.0.114.0/24"], []))


@pytest.mark.parametrize("before", ["", "0123456789abcdef", "0123456789abcdef_0123456789abcdef"])
def test_tables_of_another_make_are_replaced_whole(before: str) -> None:
    """None, one from before skeletons had frames, one whose sets or hooks are others."""
    wanted = desired(16)
    chains = frozenset({("inet", "old")}) if before else frozenset()
    changes = plan(wanted, dataclasses.replace(after(wanted), skeleton=before, chains=chains), STATE)
    assert [change.kind for change in changes] == ["nft"]
    text = changes[0].text
    for family in ("bridge", "inet"):
        assert f"delete table {family} garage_tst\n" in text
    assert "add element bridge garage_tst macs { gttst16 . " in text
    assert "flush" not in text


def test_rules_and_elements_leave_the_frame_as_it_is_and_a_sets_new_type_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mark = nft_text.skeleton_id(desired(16))
    moved = msgspec.structs.replace(BRIDGE, ipv4="10.31.0.2")
    renumbered = Desired(msgspec.structs.replace(desired(16).spec, bridge=moved), FLOOR)
    for other in (tightened(desired(16)), renumbered):
        assert nft_text.skeleton_id(other) != mark
        assert nft_text.same_frame(mark, nft_text.skeleton_id(other))
    monkeypatch.setitem(nft_text.SETS, "macs", ("bridge", "type ether_addr;"))
    assert not nft_text.same_frame(mark, nft_text.skeleton_id(desired(16)))


def test_what_dies_or_was_not_noted_as_read_is_started() -> None:
    wanted = desired(16)
    seen = after(wanted)
    assert plan(wanted, dataclasses.replace(seen, running=seen.running - {"dns"}), STATE) == [Change("start", "dns")]
    unread = {path: text for path, text in seen.files.items() if path.name != "dns.loaded"}
    changes = plan(wanted, dataclasses.replace(seen, files=unread), STATE)
    assert [(c.kind, c.path.name if c.path else c.text) for c in changes] == [("start", "dns"), ("file", "dns.loaded")]


def test_a_new_bridge_wants_new_sockets() -> None:
    wanted = desired(16)
    bare = dataclasses.replace(after(wanted), bridge_mac="", bridge_up=False, addresses=frozenset())
    assert texts(plan(wanted, bare, STATE), "start") == ["dns", "dhcp", "ntp"]


def test_only_uplinks_go_on_following_router_advertisements() -> None:
    """Forwarding makes the kernel ignore them unless accept_ra is 2; a tap or a container's port must not become a router."""
    settings = {f"net/ipv6/conf/{device}/accept_ra": "1" for device in ("eth0.100", "gttst16", "docker0")}
    seen = Observed(uplinks=frozenset({"eth0.100"}), sysctls=settings)
    found = texts(plan(desired(), seen, STATE), "sysctl")
    assert [text for text in found if "gbtst" not in text] == [
        "net/ipv6/conf/eth0.100/accept_ra=2",
        "net/ipv4/ip_forward=1",
        "net/ipv6/conf/all/forwarding=1",
    ], "the uplink first, or the route goes that forwarding needs"
    assert plan(desired(), after(desired(), seen), STATE) == []


def test_what_has_no_machine_never_leaves_by_the_uplink() -> None:
    found = texts(plan(desired(), Observed(), STATE), "ip")
    assert f"route replace unreachable 10.31.0.0/20 metric {LAST}" in found
    assert f"route replace unreachable fd31:4:5::/48 metric {LAST}" in found


def test_nothing_of_another_instance_is_spoken_of() -> None:
    text = nft_text.skeleton(desired(16))
    assert 'iifname != "gttst*" accept' in text
    tables = [
        line.rstrip(" {").split()[-1] for line in text.splitlines() if line.startswith(("table ", "delete table "))
    ]
    assert set(tables) == {"garage_tst"}


def test_the_nodes_own_services_are_never_tracked_and_all_else_is() -> None:
    untracked = [line.strip() for line in nft_text.skeleton(desired(16)).splitlines() if "notrack" in line]
    to, by = ("10.31.0.1", "fd31:4:5::1"), "notrack"
    assert untracked == [
        f"ip daddr {{ {to[0]}, 255.255.255.255 }} udp dport 67 {by}",
        f"ip6 daddr {{ ff02::1:2, fe80::/10 }} udp dport 547 {by}",
        f"ip daddr {to[0]} udp dport {{ 53, 123 }} {by}",
        f"ip6 daddr {to[1]} udp dport {{ 53, 123 }} {by}",
        f"ip saddr {to[0]} udp sport {{ 53, 67, 123 }} {by}",
        f"ip6 saddr {to[1]} udp sport {{ 53, 123 }} {by}",
        f"ip6 saddr fe80::/10 udp sport 547 {by}",
    ]


def test_questions_to_each_of_the_nodes_own_services_share_a_machines_rate() -> None:
    lines = [line.strip() for line in nft_text.skeleton(desired(16)).splitlines()]
    rate = "add @asks { ether saddr limit rate over 250/second burst 500 packets } drop"
    assert [line for line in lines if "@asks" in line] == [
        f"ip daddr {{ 10.31.0.1, 255.255.255.255 }} udp dport {{ 53, 67, 123 }} {rate}",
        f"ip6 daddr {{ fd31:4:5::1, ff02::1:2, fe80::/10 }} udp dport {{ 53, 123, 547 }} {rate}",
    ]


def test_the_link_local_address_is_the_one_that_guests_make() -> None:
    assert link_local("52:67:00:00:00:01") == "fe80::5067:ff:fe00:1"
    assert link_local("00:16:3e:aa:bb:cc") == "fe80::216:3eff:feaa:bbcc"


def test_a_machine_that_is_about_to_come_has_rules_and_no_route() -> None:
    """A host route would take it off the network where it still runs, and be told to the site's other nodes."""
    coming = msgspec.structs.replace(machine(16), arriving=True)
    before, here = desired(), desired(16)
    wanted = dataclasses.replace(here, spec=msgspec.structs.replace(here.spec, machines=(coming,)))
    assert nft_text.elements(wanted) == nft_text.elements(here)
    lines = texts(plan(wanted, after(before), STATE), "ip")
    assert [line for line in lines if "neigh replace" in line]
    assert [line for line in lines if "route" in line] == []
    arrived = plan(here, after(wanted), STATE)
    assert [change.text for change in arrived] == [
        "route replace 10.31.0.16 dev gbtst",
        "route replace fd31:4:5::10 dev gbtst",
    ], "when it has come, two routes are all that is missing"
    gone = texts(plan(before, after(here), STATE), "ip")
    assert "route del 10.31.0.16 dev gbtst" in gone


def test_a_netd_that_knows_nothing_of_arrivals_understands_the_specs_of_a_node_where_nothing_arrives() -> None:
    assert b"arriving" not in msgspec.json.encode(desired(16).spec)
    assert msgspec.json.decode(msgspec.json.encode(desired(16).spec), type=NodeSpec) == desired(16).spec
