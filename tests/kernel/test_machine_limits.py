"""What one machine may take of its node, with real packets: each limit beside a machine that has none.

Topology: tests/netlab.py.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest

from netd.core.nft_text import ASKS, SHARE
from netd.wire import MachineNet
from tests.kernel.conftest import BRIDGE, ONE, TWO, NodeUnderTest, spec
from tests.kernel.probes import SERVER
from tests.kernel.test_dhcp_dns import dhcp
from tests.kernel.test_dhcpv6 import dhcp6
from tests.netlab import INTERNET, INTERNET6, NetLab

pytestmark = pytest.mark.kernel
FEW, MBIT, VOLUME = 40, 16, 12_000_000


def limited(machine: MachineNet, **limits: int) -> MachineNet:
    return msgspec.structs.replace(machine, **limits)


@pytest.fixture(scope="module")
def guests(node: NodeUnderTest) -> Iterator[tuple[str, str]]:
    """The guests' namespaces; TCP servers stand in the internet and on guest 1."""
    lab = node.lab
    one, two = (next(name for name in lab._made if name.endswith(f"guest{n}")) for n in (1, 2))
    servers = [
        lab.popen(place, [sys.executable, "-c", SERVER, "80"], stdout=subprocess.PIPE) for place in (lab.internet, one)
    ]
    for server in servers:
        assert server.stdout is not None
        assert server.stdout.readline() == "up\n"
    yield one, two
    for server in servers:
        server.kill()
        server.wait()


HOLDER = """
import concurrent.futures, socket, sys
def probe(address):
    try:
        return socket.create_connection((address, 80), timeout=3)
    except OSError:
        return None
with concurrent.futures.ThreadPoolExecutor(200) as pool:
    held = list(pool.map(probe, sys.argv[2:] * int(sys.argv[1])))
print(*(sum(s is not None and s.family == f for s in held) for f in (socket.AF_INET, socket.AF_INET6)), flush=True)
sys.stdin.read()
"""


@contextmanager
def holding(lab: NetLab, place: str, each: int) -> Iterator[tuple[int, int]]:
    """(IPv4, IPv6) connections to the internet that came to stand out of `each` of both; they stay open meanwhile."""
    argv = [sys.executable, "-c", HOLDER, str(each), INTERNET, INTERNET6]
    process = lab.popen(place, argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    ipv4, ipv6 = process.stdout.readline().split()
    try:
        yield int(ipv4), int(ipv6)
    finally:
        process.communicate()


def test_a_new_ruleset_goes_on_counting(node: NodeUnderTest, guests: tuple[str, str]) -> None:
    """Open connections count for their machine, whatever rules come meanwhile."""
    node.take(spec(2, limited(ONE, connections=FEW), TWO))
    office = node.config.parent.parent / "office.networks"
    before = office.read_text()
    with holding(node.lab, guests[0], FEW) as held:
        office.write_text(before + "20.0.1.0/24\n")
        assert any("nft flush table" in change for change in node.refresh())
        with holding(node.lab, guests[0], FEW) as more:
            assert sum(held) + sum(more) <= FEW
    office.write_text(before)
    node.refresh()


def test_a_flood_of_connections_leaves_room_for_others(node: NodeUnderTest, guests: tuple[str, str]) -> None:
    flood, calm = limited(ONE, connections=FEW), TWO
    node.take(spec(3, flood, calm))
    with holding(node.lab, guests[0], FEW) as (ipv4, ipv6):
        assert FEW - 5 <= ipv4 + ipv6 <= FEW, "both families count together"
        with holding(node.lab, guests[1], FEW) as others:
            assert others == (FEW, FEW), "the control: who has no limit holds them all, meanwhile"
        assert answers(node.lab, node.lab.node, ONE.ipv4), "its owner gets in all the same"
        tcp = "dig +tcp +time=1 +tries=1 +short one.alice.home.garage.internal @10.31.0.1"
        assert "timed out" in node.lab.exec(guests[0], tcp, check=False), "the control: no new connection but these"
        for server in (BRIDGE.ipv4, BRIDGE.ipv6):
            asked = f"dig +time=5 +tries=3 +short one.alice.home.garage.internal @{server}"
            assert node.lab.exec(guests[0], asked).strip() == ONE.ipv4, "it still finds names"
        assert dhcp(node, guests[0])["ip"] == ONE.ipv4, "and keeps its address"
        assert dhcp6(node, guests[0], release=False)["address"] == ONE.ipv6
        assert node.lab.exec(guests[1], tcp).strip() == ONE.ipv4
    with holding(node.lab, guests[0], 1) as again:
        assert again == (1, 1), "what is closed no longer counts"


def answers(lab: NetLab, place: str, address: str) -> bool:
    code = f"import socket; print(socket.create_connection(({address!r}, 80), timeout=10).recv(5) == b'hello')"
    return lab.python(place, code) == "True"


ASKING = """
    import select, socket, time
    TARGET, COUNT, PACE = GIVEN
    labels = b"".join(bytes([len(label)]) + label.encode() for label in "one.alice.home.garage.internal".split("."))
    question = bytes([1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]) + labels + bytes([0, 0, 1, 0, 1])
    open_ones = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(100)]
    answers, began = 0, time.monotonic()
    for number in range(COUNT):
        open_ones[number % 100].sendto(question, TARGET)
        time.sleep(PACE)
    took = time.monotonic() - began
    while ready := select.select(open_ones, [], [], 1.0)[0]:
        for one in ready:
            answers += bool(one.recv(600))
    print(answers, took)
"""


def asking(lab: NetLab, place: str, server: str, port: int, count: int, pace: float = 0.0) -> tuple[int, float]:
    """Questions for names from a hundred ports: (how many were answered, seconds that they took)."""
    code = textwrap.dedent(ASKING).replace("GIVEN", repr(((server, port), count, pace)))
    answers, took = lab.python(place, code).split()
    return int(answers), float(took)


def test_names_take_no_room_in_the_table_and_have_a_rate(node: NodeUnderTest, guests: tuple[str, str]) -> None:
    node.take(spec(3, limited(ONE, connections=FEW), TWO))
    lab = node.lab

    def tracked(port: int) -> int:
        found = lab.exec(lab.node, "cat /proc/net/nf_conntrack").splitlines()
        return sum(" udp " in line and f" dport={port} " in line for line in found)

    assert asking(lab, guests[1], BRIDGE.ipv4, 53, 100, 0.01)[0] > 50
    assert tracked(53) == 0, "neither questions nor answers are kept in mind"
    asking(lab, guests[1], INTERNET, 9999, 100)
    assert tracked(9999) > 50, "the control: what goes elsewhere is"
    answers, took = asking(lab, guests[0], BRIDGE.ipv4, 53, 4000)
    assert 0 < answers <= 2 * ASKS + ASKS * (took + 1) * 1.1
    assert answers < 4000 or took > 10


FLOOD = """
    import socket, time
    (family, kind, _, _, target), *_ = socket.getaddrinfo(*GIVEN, type=socket.SOCK_DGRAM)
    s = socket.socket(family, kind)
    began = time.monotonic()
    for _ in range(4000):
        s.sendto(b"now?", target)
    print(time.monotonic() - began)
"""


@pytest.mark.parametrize(
    ("server", "port"), [(BRIDGE.ipv4, 67), ("ff02::1:2%eth0", 547), (BRIDGE.ipv4, 123), (BRIDGE.ipv6, 123)]
)
def test_each_of_the_nodes_services_has_that_rate(
    node: NodeUnderTest, guests: tuple[str, str], server: str, port: int
) -> None:
    node.take(spec(3, limited(ONE, connections=FEW), TWO))
    lab = node.lab

    def came() -> int:
        """UDP that reached the node's sockets, or found none, until now."""
        text = lab.exec(lab.node, "cat /proc/net/snmp6 /proc/net/snmp")
        ipv6 = [int(value) for name, value in re.findall(r"^Udp6(\w+)\s+(\d+)$", text, re.M) if name in ARRIVED]
        names, values = re.findall(r"^Udp: (.*)$", text, re.M)
        ipv4 = [int(value) for name, value in zip(names.split(), values.split(), strict=True) if name in ARRIVED]
        return sum(ipv4 + ipv6)

    before = came()
    took = float(lab.python(guests[0], textwrap.dedent(FLOOD).replace("GIVEN", repr((server, port)))))
    found = came() - before
    assert 0 < found <= 2 * ASKS + ASKS * (took + 1) * 1.1
    assert found < 4000 or took > 10


ARRIVED = {"InDatagrams", "NoPorts", "InErrors"}
COUNTER = """
import socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
s.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE: nothing is lost here
s.bind(("::", 9000)); print("up", flush=True); total = 0
while (data := s.recv(2000)) != b"end":
    total += len(data)
print(total)
"""
BLAST = f"""
    import socket, time
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    began = time.monotonic()
    for number in range({VOLUME} // 1400):
        s.sendto(bytes(1400), (TARGET, 9000))
    took = time.monotonic() - began
    for _ in range(10):
        time.sleep(0.1); s.sendto(b"end", (TARGET, 9000))
    print(took)
"""


def blast(lab: NetLab, source: str, target: str, address: str) -> tuple[int, float]:
    """Send `VOLUME` bytes as fast as may be: (bytes that came, seconds that sending took)."""
    argv = ["ip", "netns", "exec", target, sys.executable, "-c", COUNTER]
    counter = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert counter.stdout is not None
    assert counter.stdout.readline() == "up\n"
    took = float(lab.python(source, f"TARGET = {address!r}\n{textwrap.dedent(BLAST)}"))
    return int(counter.communicate()[0]), took


def test_each_way_has_its_rate(node: NodeUnderTest, guests: tuple[str, str]) -> None:
    node.take(spec(4, limited(ONE, net_mbit=MBIT), TWO))
    lab, rate = node.lab, MBIT * 125_000
    for place, slow in ((guests[0], True), (guests[1], False)):
        out, took = blast(lab, place, lab.internet, INTERNET)
        if slow:
            assert out < rate * (took + 1) * 1.1, "a second's worth at once, then no faster than its rate"
            assert out > rate // 2, "and not much less"
        else:
            assert out > VOLUME * 0.9, "the control: a machine without a limit"
    # towards a machine: only what it asked for comes in, so guest 2 sends, which the rules let through
    came, took = blast(lab, guests[1], guests[0], ONE.ipv4)
    assert rate // 2 < came < rate * (took + 1) * 1.1


def test_limits_change_one_by_one_and_settle(node: NodeUnderTest, guests: tuple[str, str]) -> None:
    node.take(spec(5, limited(ONE, net_mbit=1024, connections=FEW), TWO))
    assert node.refresh() == [], "1024 Mbit/s is printed in another unit than it was asked for"
    (change,) = node.take(spec(6, limited(ONE, net_mbit=100, connections=FEW), limited(TWO, connections=9)))
    assert "flush" not in change
    assert f"delete element inet garage_tst connects {{ {TWO.mac} }}" in change
    assert (
        f"add element bridge garage_tst sends {{ {ONE.tap} limit rate over 12500000 bytes/second burst 65536 bytes }}"
        in change
    )
    assert ONE.mac not in change, "what stays is not touched: it goes on counting"
    assert node.refresh() == []
    assert node.take(spec(7, ONE, TWO)) != []
    assert node.refresh() == []


def test_no_spec_gives_one_machine_the_whole_table(node: NodeUnderTest, guests: tuple[str, str]) -> None:
    table = int(node.lab.exec(node.lab.node, "cat /proc/sys/net/netfilter/nf_conntrack_max"))
    node.take(spec(8, ONE, limited(TWO, connections=1_000_000)))
    listed = json.loads(node.lab.exec(node.lab.node, "nft -j list set inet garage_tst connects"))
    (found,) = [row["set"]["elem"] for row in listed["nftables"] if "set" in row]
    assert {row["elem"]["val"]: row["elem"]["ct count"]["val"] for row in found} == {
        ONE.mac: table // SHARE,
        TWO.mac: table // SHARE,
    }
