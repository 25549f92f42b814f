"""Two garages on one server, and somebody else's firewall: each keeps to itself.

guestA ── gttst1 ─ gbtst 10.31.0.0/20 ─┐
                                       NODE ── up0 … (tests/netlab.py)
guestB ── gttsu1 ─ gbtsu 10.47.0.0/20 ─┘
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from netd.wire import Bridge, NodeSpec
from tests.kernel.conftest import BRIDGE, ONE, NodeUnderTest, make_node, spec
from tests.kernel.probes import SERVER
from tests.kernel.test_floor import reach
from tests.netlab import INTERNET, NetLab

pytestmark = pytest.mark.kernel

OTHER_BRIDGE = Bridge(
    name="gbtsu",
    mac="52:67:01:00:00:00",
    ipv4="10.47.0.1",
    ipv6="fd47:4:5::1",
    site_ipv4="10.47.0.0/20",
    site_ipv6="fd47:4:5::/48",
)
OTHER = msgspec.structs.replace(ONE, tap="gttsu1", mac="52:67:01:00:00:01", ipv4="10.47.0.16", ipv6="fd47:4:5::10")
FOREIGN = "table ip foreign { chain forward { type filter hook forward priority filter; policy accept; } ; }\n"


def other_spec(version: int) -> NodeSpec:
    return msgspec.structs.replace(spec(version, OTHER, bridge=OTHER_BRIDGE), instance="tsu")


@pytest.fixture(scope="module")
def two(open_folder: Path) -> Iterator[tuple[NodeUnderTest, NodeUnderTest, str, str]]:
    """Both nodes and a guest of each; a TCP server on every guest, the node and in the world."""
    lab = NetLab()
    one, other = (make_node(lab, open_folder / name) for name in ("tst", "tsu"))
    other.config.write_text(other.config.read_text().replace('instance = "tst"', 'instance = "tsu"'))
    lab.exec(lab.node, f"nft '{FOREIGN.strip()}'")
    one.take(spec(1, ONE))
    other.take(other_spec(1))
    guests = []
    for number, who, bridge in ((1, ONE, BRIDGE), (2, OTHER, OTHER_BRIDGE)):
        guests.append(lab.guest(number, bridge=bridge.name, tap=who.tap, mac=who.mac))
        lab.addresses(guests[-1], who.ipv4, who.ipv6, bridge.ipv4, bridge.ipv6)
    for place in (*guests, lab.node, lab.internet):
        server = lab.popen(place, [sys.executable, "-c", SERVER, "80"], stdout=subprocess.PIPE)
        assert server.stdout is not None
        assert server.stdout.readline() == "up\n"
    one.refresh()  # the daemon would, within seconds: the other's bridge is a network that this server stands in now
    yield one, other, *guests  # type: ignore[misc]
    lab.close()


def test_both_work_side_by_side(two: tuple[NodeUnderTest, NodeUnderTest, str, str]) -> None:
    one, other, guest, other_guest = two
    assert reach(one, guest, (INTERNET, 80)) == {(INTERNET, 80): True}
    assert reach(other, other_guest, (INTERNET, 80)) == {(INTERNET, 80): True}
    for node in (one, other):
        assert node.refresh() == [], "neither undoes what the other did"


def test_machines_of_one_reach_nothing_of_the_other(two: tuple[NodeUnderTest, NodeUnderTest, str, str]) -> None:
    one, other, guest, other_guest = two
    assert reach(one, one.lab.node, (OTHER.ipv4, 80), (ONE.ipv6, 80)) == {(OTHER.ipv4, 80): True, (ONE.ipv6, 80): True}
    closed = [(address, 80) for address in (OTHER.ipv4, OTHER.ipv6, OTHER_BRIDGE.ipv4, OTHER_BRIDGE.ipv6)]
    assert reach(one, guest, *closed) == dict.fromkeys(closed, False)
    closed = [(address, 80) for address in (ONE.ipv4, ONE.ipv6, BRIDGE.ipv4, BRIDGE.ipv6)]
    assert reach(other, other_guest, *closed) == dict.fromkeys(closed, False)
    ask = "dig +time=2 +tries=2 one.alice.home.garage.internal @"
    assert "NOERROR" in other.lab.exec(other_guest, ask + OTHER_BRIDGE.ipv4)
    assert "no servers" in other.lab.exec(other_guest, ask + BRIDGE.ipv4, check=False)


def test_a_site_that_overlaps_the_others_is_refused(two: tuple[NodeUnderTest, NodeUnderTest, str, str]) -> None:
    overlapping = msgspec.structs.replace(OTHER_BRIDGE, ipv4="10.31.8.1", site_ipv4="10.31.8.0/21")
    said = two[1].take(msgspec.structs.replace(other_spec(2), bridge=overlapping, machines=()))
    assert said[0].startswith("refused: content: ")
    assert "10.31.0.0/20" in said[0]


def test_a_firewall_that_drops_what_machines_send_is_told(two: tuple[NodeUnderTest, NodeUnderTest, str, str]) -> None:
    one, _, guest, _ = two
    policy = "nft 'chain ip foreign forward {{ policy {}; }}'"
    one.lab.exec(one.lab.node, policy.format("drop"))
    assert reach(one, guest, (INTERNET, 80)) == {(INTERNET, 80): False}
    said, _ = one.netd("status", "-o", "json").communicate(timeout=20)
    assert "ip foreign forward" in json.loads(said)["problems"][0]
    one.lab.exec(one.lab.node, policy.format("accept"))
    said, _ = one.netd("status", "-o", "json").communicate(timeout=20)
    assert json.loads(said)["problems"] == []


def test_taking_one_down_leaves_the_other_and_foreign_tables(
    two: tuple[NodeUnderTest, NodeUnderTest, str, str],
) -> None:
    one, other, guest, _ = two
    assert other.netd("down").wait(timeout=20) == 0
    tables = one.lab.exec(one.lab.node, "nft list tables")
    assert "garage_tsu" not in tables
    assert {"table ip foreign", "table inet garage_tst", "table bridge garage_tst"} <= set(tables.splitlines())
    assert "gbtsu" not in one.lab.exec(one.lab.node, "ip link")
    assert reach(one, guest, (INTERNET, 80)) == {(INTERNET, 80): True}
    one.refresh()
    assert one.refresh() == []
