"""The floor attacked by machines with root, with real packets. Every refusal has a control: the same probe passes where it should.

Topology: tests/netlab.py.
"""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator

import pytest

from tests.kernel import frames as f
from tests.kernel.conftest import BRIDGE, ONE, TWO, NodeUnderTest, spec
from tests.kernel.probes import SERVER, sniff_while
from tests.netlab import INTERNET, INTERNET6, METADATA, NEIGHBOUR, NODE_UPLINK, NODE_UPLINK6, OFFICE, ROUTER, ROUTER6

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def guests(node: NodeUnderTest) -> Iterator[tuple[str, str]]:
    """The two guests' namespaces, with TCP servers standing everywhere: on the node, at the office, in the world, on guest 2."""
    lab = node.lab
    one, two = (next(name for name in lab._made if name.endswith(f"guest{n}")) for n in (1, 2))
    servers = []
    for place, ports in (
        (lab.node, "22 80 8080"),
        (lab.uplink, "80"),
        (lab.office, "80 8443"),
        (lab.internet, "80"),
        (two, "80"),
    ):
        server = lab.popen(place, [sys.executable, "-c", SERVER, *ports.split()], stdout=subprocess.PIPE)
        assert server.stdout is not None
        assert server.stdout.readline() == "up\n"
        servers.append(server)
    yield one, two
    for server in servers:
        server.kill()
        server.wait()


def reach(node: NodeUnderTest, place: str, *targets: tuple[str, int]) -> dict[tuple[str, int], bool]:
    """Which of the targets answer over TCP, tried all at once."""
    code = f"""
        import socket, concurrent.futures
        def probe(target):
            try:
                with socket.create_connection(target, timeout=1.5) as s:
                    return s.recv(5) == b"hello"
            except OSError:
                return False
        targets = {list(targets)!r}
        with concurrent.futures.ThreadPoolExecutor(32) as pool:
            print([int(found) for found in pool.map(probe, targets)])
    """
    answers = node.lab.python(place, code)
    return dict(zip(targets, (part == "1" for part in answers.strip("[]").split(", ")), strict=True))


def test_machines_reach_each_other_and_the_internet(node: NodeUnderTest, guests: tuple[str, str]) -> None:
    targets = ((TWO.ipv4, 80), (TWO.ipv6, 80), (INTERNET, 80), (INTERNET6, 80), (OFFICE, 8443))
    assert reach(node, guests[0], *targets) == dict.fromkeys(targets, True)


def test_machines_reach_neither_office_nor_uplink_nor_the_node(node: NodeUnderTest, guests: tuple[str, str]) -> None:
    closed = [(address, 80) for address in (OFFICE, NEIGHBOUR, ROUTER, ROUTER6, METADATA)]
    closed += [
        (address, port) for address in (NODE_UPLINK, NODE_UPLINK6, BRIDGE.ipv4, BRIDGE.ipv6) for port in (22, 80, 8080)
    ]
    assert reach(node, node.lab.node, *closed) == dict.fromkeys(closed, True), "the control: the node reaches them all"
    assert reach(node, guests[0], *closed) == dict.fromkeys(closed, False)


def test_nobody_outside_opens_a_connection_to_a_machine(node: NodeUnderTest, guests: tuple[str, str]) -> None:
    targets = ((TWO.ipv4, 80), (TWO.ipv6, 80))
    assert reach(node, node.lab.node, *targets) == dict.fromkeys(targets, True), "the control: the node itself does"
    for place in (node.lab.office, node.lab.uplink, node.lab.internet):
        assert reach(node, place, *targets) == dict.fromkeys(targets, False)


def test_the_gateway_serves_names_and_time_to_machines_alone(node: NodeUnderTest, guests: tuple[str, str]) -> None:
    ask = f"dig +time=2 +tries=2 +short one.alice.home.garage.internal @{BRIDGE.ipv4}"
    assert node.lab.exec(guests[0], ask).strip() == ONE.ipv4
    assert "timed out" in node.lab.exec(node.lab.uplink, ask, check=False)


# --- raw frames -----------------------------------------------------------------------------------------------------------

GATEWAY_LL = "fe80::5067:ff:fe00:0"
ONE_LL, ALL_NODES, ALL_NODES_MAC = "fe80::5067:ff:fe00:1", "ff02::1", "33:33:00:00:00:01"


def frame(kind: int, payload: bytes, source: str = ONE.mac, target: str = BRIDGE.mac) -> bytes:
    return f.ethernet(source, target, kind, payload)


def marked(name: str) -> bytes:
    return f"<{name}>".encode().ljust(24, b".")


GOOD = {
    "own-ipv4": lambda m: frame(0x0800, f.udp4(ONE.ipv4, INTERNET, 4000, 4000, m)),
    "own-ipv6": lambda m: frame(0x86DD, f.udp6(ONE.ipv6, INTERNET6, 4000, 4000, m)),
    "own-arp": lambda m: frame(0x0806, f.arp(1, ONE.mac, ONE.ipv4, BRIDGE.ipv4, m), target=f.BROADCAST),
    "dhcp-discover": lambda m: frame(0x0800, f.udp4("0.0.0.0", "255.255.255.255", 68, 67, m), target=f.BROADCAST),
}
EVIL = {
    "spoofed-ipv4": lambda m: frame(0x0800, f.udp4(TWO.ipv4, INTERNET, 4000, 4000, m)),
    "spoofed-outside-ipv4": lambda m: frame(0x0800, f.udp4("8.8.4.4", INTERNET, 4000, 4000, m)),
    "spoofed-gateway": lambda m: frame(0x0800, f.udp4(BRIDGE.ipv4, TWO.ipv4, 4000, 4000, m)),
    "unspecified-but-no-dhcp": lambda m: frame(0x0800, f.udp4("0.0.0.0", INTERNET, 4000, 4000, m)),
    "spoofed-mac": lambda m: frame(0x0800, f.udp4(ONE.ipv4, INTERNET, 4000, 4000, m), source=TWO.mac),
    "spoofed-mac-and-ip": lambda m: frame(0x0800, f.udp4(TWO.ipv4, INTERNET, 4000, 4000, m), source=TWO.mac),
    "spoofed-ipv6": lambda m: frame(0x86DD, f.udp6(TWO.ipv6, INTERNET6, 4000, 4000, m)),
    "spoofed-link-local": lambda m: frame(
        0x86DD, f.udp6("fe80::5067:ff:fe00:2", ALL_NODES, 4000, 4000, m), target=ALL_NODES_MAC
    ),
    "arp-for-another": lambda m: frame(0x0806, f.arp(2, ONE.mac, TWO.ipv4, BRIDGE.ipv4, m), target=f.BROADCAST),
    "arp-for-the-gateway": lambda m: frame(0x0806, f.arp(2, ONE.mac, BRIDGE.ipv4, TWO.ipv4, m), target=f.BROADCAST),
    "arp-with-another-mac": lambda m: frame(0x0806, f.arp(2, TWO.mac, ONE.ipv4, BRIDGE.ipv4, m), target=f.BROADCAST),
    "rogue-dhcp-offer": lambda m: frame(0x0800, f.udp4(ONE.ipv4, "255.255.255.255", 67, 68, m), target=f.BROADCAST),
    "rogue-dhcpv6-reply": lambda m: frame(0x86DD, f.udp6(ONE_LL, ALL_NODES, 547, 546, m), target=ALL_NODES_MAC),
    "rogue-router-advert": lambda m: frame(
        0x86DD, f.icmp6(ONE_LL, ALL_NODES, 134, bytes(12) + m), target=ALL_NODES_MAC
    ),
    "rogue-redirect": lambda m: frame(0x86DD, f.icmp6(ONE_LL, ALL_NODES, 137, bytes(36) + m), target=ALL_NODES_MAC),
    "vlan-tagged": lambda m: frame(0x8100, b"\0\x05\x08\0" + f.udp4(ONE.ipv4, INTERNET, 4000, 4000, m)),
    "unknown-ethertype": lambda m: frame(0x88B5, m, target=f.BROADCAST),
}


def send(node: NodeUnderTest, place: str, *packets: bytes) -> None:
    code = f"""
        import socket
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(("eth0", 0))
        for packet in {[p.hex() for p in packets]!r}: s.send(bytes.fromhex(packet))
    """
    node.lab.python(place, code)


def test_frames_that_are_not_the_machines_own_end_at_its_port(node: NodeUnderTest, guests: tuple[str, str]) -> None:
    every = {**GOOD, **EVIL}
    packets = [make(marked(name)) for name, make in every.items()]
    seen = sniff_while(node.lab.node, "gbtst", lambda: send(node, guests[0], *packets))
    passed = {name for name in every if f"<{name}>".encode() in seen}
    assert passed == set(GOOD)


def test_no_frame_goes_from_machine_to_machine_behind_the_nodes_back(
    node: NodeUnderTest, guests: tuple[str, str]
) -> None:
    direct = frame(0x0800, f.udp4(ONE.ipv4, TWO.ipv4, 4000, 4000, marked("direct")), target=TWO.mac)
    flooded = frame(0x0806, f.arp(1, ONE.mac, ONE.ipv4, TWO.ipv4, marked("flooded")), target=f.BROADCAST)
    routed = frame(0x0800, f.udp4(ONE.ipv4, TWO.ipv4, 4000, 4000, marked("routed")))
    seen = sniff_while(guests[1], "eth0", lambda: send(node, guests[0], direct, flooded, routed))
    assert b"<routed>" in seen, "the control: what the node routes arrives"
    assert b"<direct>" not in seen
    assert b"<flooded>" not in seen


def test_the_internet_sees_the_node_and_never_a_machines_address(node: NodeUnderTest, guests: tuple[str, str]) -> None:
    packet = frame(0x0800, f.udp4(ONE.ipv4, INTERNET, 4000, 4000, marked("out")))
    seen = sniff_while(node.lab.internet, "eth0", lambda: send(node, guests[0], packet))
    at = seen.index(b"<out>")
    source = seen[at - 28 + 12 : at - 28 + 16]
    assert ".".join(map(str, source)) == NODE_UPLINK


def test_a_port_without_a_machine_is_mute(node: NodeUnderTest, guests: tuple[str, str]) -> None:
    stray = node.lab.guest(9, bridge="gbtst", tap="gttst9", mac="52:67:00:00:00:09")
    packet = f.ethernet(
        "52:67:00:00:00:09", BRIDGE.mac, 0x0800, f.udp4("10.31.0.24", INTERNET, 4000, 4000, marked("stray"))
    )
    own = frame(0x0800, f.udp4(ONE.ipv4, INTERNET, 4000, 4000, marked("own")))

    def act() -> None:
        send(node, stray, packet)
        send(node, guests[0], own)

    seen = sniff_while(node.lab.node, "gbtst", act)
    assert b"<own>" in seen
    assert b"<stray>" not in seen


def test_a_port_that_is_no_tap_gets_nowhere(node: NodeUnderTest, guests: tuple[str, str]) -> None:
    """Somebody plugs a port of another name into the bridge; a machine's own packets are the control."""
    stray = node.lab.guest(8, bridge="gbtst", tap="vnet8", mac="52:67:00:00:00:08")
    lost = f.ethernet("52:67:00:00:00:08", BRIDGE.mac, 0x0800, f.udp4(ONE.ipv4, INTERNET, 4000, 4000, marked("lost")))
    lost6 = f.ethernet(
        "52:67:00:00:00:08", BRIDGE.mac, 0x86DD, f.udp6(ONE.ipv6, INTERNET6, 4000, 4000, marked("lost6"))
    )
    own = frame(0x0800, f.udp4(ONE.ipv4, INTERNET, 4000, 4000, marked("own")))

    def act() -> None:
        send(node, stray, lost, lost6)
        send(node, guests[0], own)

    seen = sniff_while(node.lab.node, "up0", act)
    assert b"<own>" in seen
    assert b"<lost>" not in seen
    assert b"<lost6>" not in seen
    node.lab.exec(node.lab.node, "ip link delete vnet8")


def test_what_is_meant_for_a_machine_that_is_gone_never_leaves_by_the_uplink(
    node: NodeUnderTest, guests: tuple[str, str]
) -> None:
    """The node's default route would take it; the controls go the same way."""
    code = f"""
        import socket
        for family, there, gone in ((socket.AF_INET, "{NEIGHBOUR}", "10.31.0.99"), (socket.AF_INET6, "{ROUTER6}", "fd31:4:5::99")):
            s = socket.socket(family, socket.SOCK_DGRAM)
            s.sendto(b"<control>", (there, 4000))
            try: s.sendto(b"<lost>", (gone, 4000))
            except OSError as error: print(error)
    """
    own = frame(0x0800, f.udp4(ONE.ipv4, "10.31.0.99", 4000, 4000, marked("lost")))

    def act() -> None:
        assert node.lab.python(node.lab.node, code).count("No route") == 2
        send(node, guests[0], own)

    seen = sniff_while(node.lab.node, "up0", act)
    assert seen.count(b"<control>") >= 2
    assert b"<lost>" not in seen


def test_a_network_that_becomes_office_is_closed_for_open_connections_too(
    node: NodeUnderTest, guests: tuple[str, str]
) -> None:
    office = node.config.parent.parent / "office.networks"
    before = office.read_text()
    code = f"""
        import pathlib, socket, time
        s = socket.create_connection(("{INTERNET}", 81), timeout=5); s.settimeout(2)
        def echo():
            s.send(b"x")
            try: return s.recv(1) == b"x"
            except OSError: return False
        print(echo(), flush=True); go = pathlib.Path("{node.state}/go")
        while not go.exists(): time.sleep(0.05)
        print(echo())
    """
    echo = node.lab.popen(node.lab.internet, [sys.executable, "-c", ECHO], stdout=subprocess.PIPE)
    assert echo.stdout is not None
    assert echo.stdout.readline() == "up\n"
    client = node.lab.popen(guests[0], [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE)
    assert client.stdout is not None
    assert client.stdout.readline() == "True\n"
    office.write_text(before + f"{INTERNET}/32\n")
    node.refresh()
    (node.state / "go").touch()
    assert client.stdout.readline() == "False\n"
    office.write_text(before)
    node.refresh()
    for process in (echo, client):
        process.kill()
        process.wait()


ECHO = """
import socket
s = socket.create_server(("::", 81), family=socket.AF_INET6, dualstack_ipv6=True); print("up", flush=True)
c, _ = s.accept()
while data := c.recv(100): c.send(data)
"""


def test_the_rules_stand_while_they_are_replaced(node: NodeUnderTest, guests: tuple[str, str]) -> None:
    """A change of the office file replaces the skeleton atomically: not one spoofed frame slips through. The flood mixes them with
    frames of its own, numbered; those that arrive prove that it went on all the time."""
    office = node.config.parent.parent / "office.networks"
    slip = frame(0x0800, f.udp4(TWO.ipv4, INTERNET, 4000, 4000, marked("slip")))
    own = frame(0x0800, f.udp4(ONE.ipv4, INTERNET, 4000, 4000, marked("#00000000")))
    sent = []

    def act() -> None:
        flood = node.lab.popen(
            guests[0], [sys.executable, "-c", FLOOD, slip.hex(), own.hex()], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )  # fmt: skip
        assert flood.stdin is not None
        assert flood.stdout is not None
        for number in range(6):
            if number:
                office.write_text(f"192.168.77.0/24\n20.0.{number}.0/24\n")
                assert any("nft flush table" in change for change in node.refresh())
            flood.stdin.write("how many?\n")
            flood.stdin.flush()
            sent.append(int(flood.stdout.readline()))
        flood.kill()
        flood.wait()

    seen = sniff_while(node.lab.node, "gbtst", act)
    arrived = [int(number) for number in re.findall(rb"<#(\d{8})>", seen)]
    for begun, ended in itertools.pairwise(sent):
        assert any(begun < number <= ended for number in arrived), "the control: while each of the rulesets came"
    assert b"<slip>" not in seen


FLOOD = """
import select, socket, sys
slip, own = map(bytes.fromhex, sys.argv[1:])
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(("eth0", 0)); count = 0
while True:
    count += 1
    for packet in slip, own.replace(b"#00000000", b"#%08d" % count): s.send(packet)
    if select.select([sys.stdin], [], [], 0.0005)[0]: sys.stdin.readline(); print(count, flush=True)
"""


def test_those_whom_a_new_ruleset_does_not_concern_lose_nothing(node: NodeUnderTest, guests: tuple[str, str]) -> None:
    """Rules replaced by deleting their tables lost each of a guest's packets of a millisecond or so; these come one every half."""
    receiver = node.lab.popen(node.lab.internet, [sys.executable, "-c", COUNT, INTERNET], stdout=subprocess.PIPE)
    assert receiver.stdout is not None
    assert receiver.stdout.readline() == "up\n"
    node.lab.exec(guests[0], f"ping -c 1 -W 5 {INTERNET}")  # the neighbours on the way are known then
    argv = [sys.executable, "-c", SEND, INTERNET]
    sender = node.lab.popen(guests[0], argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    office = node.config.parent.parent / "office.networks"
    before = office.read_text()
    act = f"""changes = []
                node.adopt()
                office = pathlib.Path({str(office)!r})
                for number in range({RULESETS}):
                    office.write_text(f"192.168.77.0/24\\n20.0.{{number}}.0/24\\n")
                    changes += node.refresh()"""
    changes = node.run(act, None)
    sent = int(sender.communicate("how many?\n", timeout=20)[0])
    came = int(receiver.communicate(timeout=20)[0])
    office.write_text(before)
    node.refresh()
    assert len([change for change in changes if "nft" in change]) == RULESETS
    assert sent > 10 * RULESETS, "the control: it went on all the time"
    assert sent - came == 0


RULESETS = 60
COUNT = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)  # SO_RCVBUFFORCE
s.bind((sys.argv[1], 4001)); print("up", flush=True); count = 0
while s.recv(10) != b"end": count += 1
print(count)
"""
SEND = """
import select, socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); to = (sys.argv[1], 4001); count = 0
while not select.select([sys.stdin], [], [], 0.0005)[0]: s.sendto(b"x", to); count += 1
for _ in range(5): time.sleep(0.05); s.sendto(b"end", to)
print(count)
"""


SPOIL = """
flush chain inet garage_tst input
delete chain inet garage_tst input
add chain inet garage_tst input { type filter hook input priority 5; }
"""


def test_tables_that_take_no_change_are_replaced(node: NodeUnderTest, guests: tuple[str, str]) -> None:
    """Somebody has hooked one of our chains in elsewhere, below the mark of what was applied: nft refuses to refill it."""
    office = node.config.parent.parent / "office.networks"
    before, list_input = office.read_text(), "nft list chain inet garage_tst input"
    node.lab.exec(node.lab.node, f"nft -f - <<'TEXT'{SPOIL}TEXT")
    assert "priority filter + 5" in node.lab.exec(node.lab.node, list_input)
    office.write_text(before + "20.0.9.0/24\n")
    node.refresh()
    assert "priority filter - 10" in node.lab.exec(node.lab.node, list_input)
    assert "20.0.9.0/24" in node.lab.exec(node.lab.node, "nft list set inet garage_tst floor4")
    office.write_text(before)
    assert any("nft flush table" in change for change in node.refresh()), "the new tables take changes"
    assert node.refresh() == []


def test_a_policy_file_that_others_can_write_is_refused(node: NodeUnderTest) -> None:
    allow = node.config.parent.parent / "allow.networks"
    allow.chmod(0o666)
    with pytest.raises(AssertionError, match="writable by others"):
        node.refresh()
    allow.chmod(0o644)
    assert node.refresh() is not None


def test_a_second_apply_changes_nothing(node: NodeUnderTest) -> None:
    node.refresh()
    assert node.refresh() == []


def test_a_machine_that_is_gone_is_mute_at_once(node: NodeUnderTest, guests: tuple[str, str]) -> None:
    assert reach(node, guests[0], (INTERNET, 80)) == {(INTERNET, 80): True}
    node.take(spec(50, TWO))
    time.sleep(0.1)
    assert reach(node, guests[0], (INTERNET, 80), (TWO.ipv4, 80)) == {(INTERNET, 80): False, (TWO.ipv4, 80): False}
    node.take(spec(51, ONE, TWO))
    assert reach(node, guests[0], (INTERNET, 80)) == {(INTERNET, 80): True}
