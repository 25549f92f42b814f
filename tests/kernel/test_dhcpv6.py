"""DHCPv6 and what outlives a reload of dnsmasq, with a small client of our own (topology: tests/netlab.py)."""

from __future__ import annotations

import json

import pytest

from tests.kernel.conftest import BRIDGE, ONE, THREE, TWO, NodeUnderTest, spec

pytestmark = pytest.mark.kernel

CLIENT = """
    import ipaddress, json, os, socket, struct
    def option(code, body): return struct.pack("!HH", code, len(body)) + body
    def options(data):
        found = {}
        while data:
            code, length = struct.unpack("!HH", data[:4])
            found[code] = data[4 : 4 + length]
            data = data[4 + length :]
        return found
    # RFC 8415: a DUID-UUID, so that only the frame tells the MAC; IA_NA, option request, elapsed time
    asked = option(1, b"\\0\\4" + os.urandom(16)) + option(3, struct.pack("!III", 1, 0, 0))
    asked += option(6, struct.pack("!4H", 23, 24, 31, 56)) + option(8, b"\\0\\0")
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    s.bind(("::", 546)); s.settimeout(10)
    all_servers = ("ff02::1:2", 547, 0, socket.if_nametoindex("eth0"))
    def ask(kind, more):
        s.sendto(bytes([kind]) + b"abc" + asked + more, all_servers)
        return options(s.recv(2000)[4:])
    offer = ask(1, b"")
    if 3 not in offer:
        print(json.dumps({"status": offer[13][2:].decode()}))
    else:
        reply = ask(3, option(2, offer[2]))
        inner = options(reply[3][12:])[5]
        release = ask(8, option(2, offer[2]) + option(3, struct.pack("!III", 1, 0, 0) + option(5, inner))) if RELEASE else {}
        print(json.dumps({"address": str(ipaddress.IPv6Address(inner[:16])), "valid": struct.unpack("!I", inner[20:24])[0],
            "dns": str(ipaddress.IPv6Address(reply[23])), "sntp": str(ipaddress.IPv6Address(reply[31])),
            "ntp": reply[56].hex(), "search": reply[24].decode(errors="replace")}))
"""


@pytest.fixture(scope="module")
def clients(node: NodeUnderTest) -> tuple[str, str]:
    return tuple(next(n for n in node.lab._made if n.endswith(f"guest{i}")) for i in (1, 2))  # type: ignore[misc]


def dhcp6(node: NodeUnderTest, place: str, *, release: bool = True) -> dict[str, object]:
    """The lease that a client with a fresh DUID gets, or the server's status text."""
    code = CLIENT.replace("RELEASE", str(release))
    said: dict[str, object] = json.loads(node.lab.python(place, code))
    return said


def test_dhcpv6_gives_the_address_by_mac_and_the_nodes_services(node: NodeUnderTest, clients: tuple[str, str]) -> None:
    lease = dhcp6(node, clients[0])
    assert lease["address"] == ONE.ipv6
    assert lease["dns"] == lease["sntp"] == BRIDGE.ipv6
    assert lease["ntp"] == "00010010" + "fd310004000500000000000000000001"  # RFC 5908: suboption 1, an address
    assert "garage" in str(lease["search"])
    assert dhcp6(node, clients[1])["address"] == TWO.ipv6


def test_a_lease_is_short_since_a_new_duid_must_wait_for_its_end(node: NodeUnderTest, clients: tuple[str, str]) -> None:
    """dnsmasq holds a fixed /128 for the first DUID: a machine made anew waits at most this long."""
    lease = dhcp6(node, clients[0], release=False)
    assert lease["address"] == ONE.ipv6
    assert lease["valid"] == 300


def test_router_advertisements_make_nothing_on_link(node: NodeUnderTest, clients: tuple[str, str]) -> None:
    said = node.lab.exec(clients[0], "rdisc6 -1 -r 3 -w 2000 eth0")
    assert "Stateful address conf.    :          Yes" in said
    assert "On-link                 :           No" in said
    assert "Autonomous address conf.:           No" in said
    routes = node.lab.exec(clients[0], "ip -6 route show dev eth0")
    assert "fd31:4:5::/64" not in routes, "machines talk through the node, not on the link"


def test_addresses_are_given_after_many_changes(node: NodeUnderTest, clients: tuple[str, str]) -> None:
    """dnsmasq 2.90 dies of SIGHUP when its hosts carry tags and have been given an address."""
    node.lab.exec(clients[1], "udhcpc -i eth0 -n -q -t 8 -T 2 -s /bin/true")
    for version in range(100, 106):
        node.take(spec(version, ONE, TWO, THREE) if version % 2 else spec(version, ONE, TWO))
    assert "obtained" in node.lab.exec(clients[1], "udhcpc -i eth0 -n -q -t 8 -T 2 -s /bin/true 2>&1")
