"""A node whose site takes other prefixes (topology: tests/netlab.py)."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from netd.wire import MachineNet
from tests.kernel.conftest import BRIDGE, ONE, TWO, NodeUnderTest, spec
from tests.kernel.test_dhcp_dns import dhcp, dig

pytestmark = pytest.mark.kernel
NEW = replace(BRIDGE, ipv4="10.45.0.1", ipv6="fd45:4:5::1", site_ipv4="10.45.0.0/20", site_ipv6="fd45:4:5::/48")


def moved(machine: MachineNet) -> MachineNet:
    return replace(machine, ipv4=machine.ipv4.replace("10.31.", "10.45."), ipv6=machine.ipv6.replace("fd31:", "fd45:"))


def reached(node: NodeUnderTest, place: str, address: str, source: str) -> bool:
    done = node.lab.popen(place, ["ping", "-n", "-c", "1", "-W", "2", "-I", source, address])
    return done.wait() == 0


def test_everything_of_a_node_follows_its_new_prefixes(node: NodeUnderTest) -> None:
    one, two = moved(ONE), moved(TWO)
    guest = next(name for name in node.lab._made if name.endswith("guest1"))
    assert reached(node, guest, BRIDGE.ipv4, ONE.ipv4)
    assert node.take(spec(2, one, two, bridge=NEW))
    assert node.refresh() == []
    shown = json.loads(node.lab.exec(node.lab.node, "ip -j address show dev gbtst"))[0]["addr_info"]
    addresses = {entry["local"] for entry in shown if entry["scope"] == "global"}
    assert addresses == {NEW.ipv4, NEW.ipv6}
    routes = node.lab.exec(node.lab.node, "ip route show") + node.lab.exec(node.lab.node, "ip -6 route show")
    assert "10.31." not in routes
    assert "fd31:" not in routes
    assert dhcp(node, guest)["ip"] == one.ipv4
    node.lab.exec(guest, "ip address flush dev eth0 scope global")
    node.lab.addresses(guest, one.ipv4, one.ipv6, NEW.ipv4, NEW.ipv6)
    for address, source in ((NEW.ipv4, one.ipv4), (NEW.ipv6, one.ipv6)):
        assert reached(node, guest, address, source)
    assert dig(node, guest, "two.alice.home.garage.internal", NEW.ipv4) == two.ipv4
    assert dig(node, guest, f"-x {one.ipv4}", NEW.ipv4) == "one.alice.home.garage.internal."
    node.lab.exec(guest, f"ip address add {ONE.ipv4}/32 dev eth0")
    assert not reached(node, guest, NEW.ipv4, ONE.ipv4), "the old address is nobody's any more"
