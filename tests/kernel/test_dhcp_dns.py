"""DHCP, router advertisements, names and time as a machine gets them (topology: tests/netlab.py)."""

from __future__ import annotations

import json
import re
import time

import pytest

from tests.kernel.conftest import BRIDGE, ONE, THREE, TWO, NodeUnderTest, spec

pytestmark = pytest.mark.kernel

SCRIPT = """#!/bin/sh
echo "$1 ip=$ip subnet=$subnet router=$router staticroutes=$staticroutes dns=$dns search=$search ntpsrv=$ntpsrv lease=$lease"
"""


@pytest.fixture(scope="module")
def clients(node: NodeUnderTest) -> tuple[str, str]:
    return tuple(next(n for n in node.lab._made if n.endswith(f"guest{i}")) for i in (1, 2))  # type: ignore[misc]


def dhcp(node: NodeUnderTest, place: str) -> dict[str, str]:
    """A real client's lease: udhcpc's variables."""
    script = node.state / "udhcpc.sh"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    said = node.lab.exec(place, f"udhcpc -i eth0 -n -q -t 8 -T 2 -O staticroutes -O search -O ntpsrv -s {script}")
    line = next(line for line in said.splitlines() if line.startswith("bound"))
    return dict(word.split("=", 1) for word in line.split(" ")[1:] if "=" in word)


def dig(node: NodeUnderTest, place: str, question: str, server: str = BRIDGE.ipv4) -> str:
    return node.lab.exec(place, f"dig +time=3 +tries=2 +short {question} @{server}").strip()


def test_dhcp_gives_the_address_that_was_fixed_before(node: NodeUnderTest, clients: tuple[str, str]) -> None:
    lease = dhcp(node, clients[0])
    assert (lease["ip"], lease["subnet"]) == (ONE.ipv4, "255.255.255.255")
    assert lease["dns"] == lease["ntpsrv"] == BRIDGE.ipv4
    assert dhcp(node, clients[1])["ip"] == TWO.ipv4


def test_dhcp_gives_routes_by_option_121_and_the_projects_search_domain(
    node: NodeUnderTest, clients: tuple[str, str]
) -> None:
    code = """
        import socket, struct
        mac = bytes.fromhex("526700000001")
        packet = struct.pack("!BBBBIHH4s4s4s4s16s", 1, 1, 6, 0, 7, 0, 0x8000, b"", b"", b"", b"", mac) + bytes(192)
        packet += b"\\x63\\x82\\x53\\x63" + bytes([53, 1, 1, 55, 4, 1, 121, 119, 42, 255])
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
        s.bind(("", 68)); s.settimeout(10)
        s.sendto(packet, ("255.255.255.255", 67))
        print(s.recv(2000)[240:].hex())
    """
    node.lab.exec(clients[0], "ip addr flush dev eth0 scope global")
    node.lab.exec(clients[0], "ip route add 255.255.255.255 dev eth0")
    options = bytes.fromhex(node.lab.python(clients[0], code))
    restore(node, clients[0])
    gateway = bytes(map(int, BRIDGE.ipv4.split(".")))
    assert bytes([121, 14, 32]) + gateway + bytes(4) + bytes([0]) + gateway in options
    assert b"\x05alice\x04home\x06garage\x08internal\x00" in options


def restore(node: NodeUnderTest, place: str) -> None:
    node.lab.exec(place, "ip addr flush dev eth0 scope global")
    node.lab.exec(place, "ip -6 route flush dev eth0", check=False)
    node.lab.exec(place, "ip link set eth0 down")
    node.lab.exec(place, "ip link set eth0 up")
    node.lab.addresses(place, ONE.ipv4, ONE.ipv6, BRIDGE.ipv4, BRIDGE.ipv6)


def test_router_advertisements_say_managed_and_no_autonomous_prefix(
    node: NodeUnderTest, clients: tuple[str, str]
) -> None:
    said = node.lab.exec(clients[0], "rdisc6 -1 -r 3 -w 2000 eth0")
    assert "Stateful address conf.    :          Yes" in said
    assert "Autonomous address conf.:           No" in said or "Autonomous" not in said
    assert "Router lifetime           :         1800" in said


def test_names_forward_and_reverse_both_families(node: NodeUnderTest, clients: tuple[str, str]) -> None:
    name = "one.alice.home.garage.internal"
    assert dig(node, clients[1], f"{name} A") == ONE.ipv4
    assert dig(node, clients[1], f"{name} AAAA", BRIDGE.ipv6) == ONE.ipv6
    assert dig(node, clients[1], f"-x {ONE.ipv4}") == f"{name}."
    assert dig(node, clients[1], f"-x {ONE.ipv6}") == f"{name}."


def test_an_unknown_name_of_the_site_is_answered_at_once(node: NodeUnderTest, clients: tuple[str, str]) -> None:
    said = node.lab.exec(clients[0], f"dig +time=10 +tries=1 nobody.alice.home.garage.internal @{BRIDGE.ipv4}")
    assert "status: NXDOMAIN" in said
    took = re.search(r"Query time: (\d+) msec", said)
    assert took, said
    assert int(took[1]) < 1500, "nobody else is asked"


def test_names_come_and_go_with_machines(node: NodeUnderTest, clients: tuple[str, str]) -> None:
    node.take(spec(60, ONE, TWO, THREE))
    wait_for(lambda: dig(node, clients[0], "three.bob.home.garage.internal A"), THREE.ipv4)
    node.take(spec(61, ONE, TWO))
    wait_for(lambda: dig(node, clients[0], "three.bob.home.garage.internal A"), "")
    wait_for(lambda: dig(node, clients[0], f"-x {THREE.ipv4}"), "")


def wait_for(read: object, wanted: str) -> None:
    """dnsmasq reads its files again a moment after the signal."""
    deadline = time.monotonic() + 15
    while (said := read()) != wanted:  # type: ignore[operator]
        assert time.monotonic() < deadline, f"still {said!r}, not {wanted!r}"
        time.sleep(0.05)


def test_time_comes_from_the_node(node: NodeUnderTest, clients: tuple[str, str]) -> None:
    code = f"""
        import socket, struct, time
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(10)
        s.sendto(b"\\x23" + bytes(47), ("{BRIDGE.ipv4}", 123))
        answer = s.recv(100)
        print(answer[1], struct.unpack("!I", answer[40:44])[0] - 2208988800 - time.time())
    """
    stratum, off = node.lab.python(clients[0], code).split()
    assert 1 <= int(stratum) < 16
    assert abs(float(off)) < 2


def test_status_says_what_is_in_force(node: NodeUnderTest) -> None:
    done = node.netd("status", "-o", "json")
    out, _ = done.communicate(timeout=20)
    said = json.loads(out)
    assert (said["machines"], said["bridge"], said["pending"]) == (2, "gbtst", [])
    assert said["running"] == ["dhcp", "dns", "ntp"]
