"""A member that lies to its neighbours, in BGP and in packets; all real, in namespaces.

tsukuba (the registry) ──(4 ms)──┐
nagoya ───(6 ms)─────────────────┤ internet (9.9.9.9)
 ├── vm 10.41.0.x                │
 └── office 192.168.77.7         │
liar ─────(5 ms)─────────────────┘

The liar joins as everybody does; then ExaBGP speaks in the place of its FRR, over its own tunnels. vm's echoes to tsukuba run all
along: no test may cost one of them.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence

import pytest

from netd.core.bgp_port import bgp_port
from netd.lab.parse import parse
from netd.lab.world import World
from tests.kernel.frames import udp4
from tests.overlayhostile import INTERNET, OFFICE, OFFICE_HOST, PATIENCE, TOPOLOGY, Hostile
from tests.overlaysink import PORT

pytestmark = pytest.mark.kernel

JUNK = 10_000
MEMORY_MIB = 32
"""Most that bgpd may grow by for `JUNK` prefixes: 3 MiB were seen with FRR 8.4."""


@pytest.fixture(scope="module")
def hostile() -> Iterator[Hostile]:
    with World(parse(TOPOLOGY)) as world:
        world.exec("internet", ["ip", "address", "add", f"{INTERNET}/32", "dev", "lo"])
        made = Hostile(world)
        try:
            yield made
        finally:
            made.close()


@pytest.fixture(autouse=True)
def others_notice_nothing(hostile: Hostile) -> Iterator[None]:
    """Whatever a test does: no echo between honest sites is lost, no session of the victim ends or is new."""
    with hostile.unharmed():
        yield


LIAR, TSUKUBA, NAGOYA, STRANGER = "liar", "tsukuba", "nagoya", "stranger"


def numbers(hostile: Hostile, path: Sequence[str]) -> list[int]:
    asns = {link.peer_site: link.peer_asn for link in hostile.liar.spec.links}
    asns |= {LIAR: hostile.liar.spec.asn, STRANGER: 4_200_000_007}
    return [asns[name] for name in path]


@pytest.mark.parametrize(
    ("prefix", "path"),
    [
        pytest.param("10.30.0.0/20", [LIAR], id="neighbours-prefix"),
        pytest.param("fd30::/48", [LIAR], id="neighbours-prefix-ipv6"),
        pytest.param("10.30.0.0/24", [LIAR], id="more-specific"),
        pytest.param("10.30.0.0/24", [LIAR, TSUKUBA], id="more-specific-with-the-owners-number"),
        pytest.param("fd30::/64", [LIAR, TSUKUBA], id="more-specific-with-the-owners-number-ipv6"),
        pytest.param("10.30.0.0/16", [LIAR, TSUKUBA], id="less-specific-with-the-owners-number"),
        pytest.param("10.41.0.0/20", [LIAR], id="victims-own-prefix"),
        pytest.param("10.41.0.16/28", [LIAR, TSUKUBA], id="part-of-victims-own"),
        pytest.param("0.0.0.0/0", [LIAR], id="default"),
        pytest.param("::/0", [LIAR], id="default-ipv6"),
        pytest.param(OFFICE, [LIAR], id="office-network"),
        pytest.param("10.99.0.0/20", [LIAR], id="allotted-to-nobody"),
        pytest.param("100.127.0.0/24", [LIAR], id="links"),
        pytest.param("10.30.0.0/20", [TSUKUBA], id="path-without-itself"),
        pytest.param("10.30.0.0/20", [STRANGER, TSUKUBA], id="path-that-begins-with-a-stranger"),
        pytest.param("10.30.0.0/20", [LIAR, NAGOYA, TSUKUBA], id="path-through-the-victim"),
        pytest.param("10.30.0.0/20", [LIAR, TSUKUBA, STRANGER], id="path-that-goes-on-behind-the-owner"),
        pytest.param("10.30.0.0/20", [LIAR] * 60 + [TSUKUBA], id="path-over-sixty-sites"),
        pytest.param("10.30.0.0/20", [], id="no-path-at-all"),
    ],
)
def test_what_is_not_its_own_is_refused(hostile: Hostile, prefix: str, path: Sequence[str]) -> None:
    asns = " ".join(map(str, numbers(hostile, path)))
    believed = hostile.paths(prefix)
    hostile.liar.say(f"announce route {prefix} next-hop self as-path [ {asns} ]")
    try:
        hostile.net.until(lambda: hostile.received(prefix) == asns, f"{prefix} by {asns} arrives", PATIENCE)
        assert hostile.from_liar(prefix) == []
        assert len(hostile.paths(prefix)) == len(believed)
        assert not hostile.via_liar(prefix)
    finally:
        hostile.liar.say(f"withdraw route {prefix} next-hop self as-path [ {asns} ]")
        hostile.net.until(lambda: hostile.received(prefix) is None, f"{prefix} is taken back", PATIENCE)


WELL_KNOWN = "no-export no-advertise no-peer 65535:666 65535:0 65000:1"
"""Do not pass on, black hole (RFC 7999), graceful shutdown (RFC 8326), and somebody's own."""


def test_communities_and_foreign_next_hops_count_for_nothing(hostile: Hostile) -> None:
    """Its own prefix is taken as from anybody: passed on, led to the liar itself, preferred as any direct way."""
    prefix = "10.42.0.0/20"
    to_tsukuba = next(item for item in hostile.spec("nagoya").links if item.peer_site == "tsukuba")
    more = f"community [ {WELL_KNOWN} ] large-community [ 4200000001:2:3 ] extended-community [ target:65000:1 ] med 7"
    before = hostile.from_liar(prefix)[0]["locPrf"]
    hostile.liar.say(
        f"announce route {prefix} next-hop {to_tsukuba.peer_ipv4} as-path [ {hostile.liar.spec.asn} ] {more}"
    )
    hostile.net.until(
        lambda: [path.get("metric") for path in hostile.from_liar(prefix)] == [7],
        "the new announcement arrives",
        PATIENCE,
    )
    (path,) = hostile.from_liar(prefix)
    assert not {"community", "largeCommunity", "extendedCommunity"} & path.keys()
    assert path["locPrf"] == before
    assert [hop["ip"] for hop in path["nexthops"]] == [hostile.link.ipv4]
    assert hostile.via_liar(prefix)
    assert "blackhole" not in hostile.net.run("nagoya", ["ip", "route", "show"])
    asns = f"{hostile.spec('nagoya').asn} {hostile.liar.spec.asn}"
    words = f"ipv4 unicast neighbors {to_tsukuba.ipv4} received-routes"
    hostile.net.until(
        lambda: hostile.bgp(words, "tsukuba")["receivedRoutes"].get(prefix, {}).get("path") == asns,
        "nagoya passes the route on",
        PATIENCE,
    )
    passed = hostile.bgp(f"ipv4 unicast {prefix}", "tsukuba")["paths"]
    assert not [item for item in passed if {"community", "largeCommunity", "extendedCommunity"} & item.keys()]
    hostile.liar.announce_own()


def test_thousands_of_prefixes_end_no_session_and_hide_no_lie(hostile: Hostile) -> None:
    """They are refused one by one, take little memory, and the worst lies among them are told with the liar's name, at both victims,
    in the registry's list and metrics and in `netd status`."""
    before, asn = hostile.memory(), hostile.liar.spec.asn
    hostile.liar.say(
        *(f"announce route 11.{n // 256}.{n % 256}.0/24 next-hop self as-path [ {asn} ]" for n in range(JUNK))
    )
    hostile.liar.announce("10.30.0.0/20")
    hostile.liar.announce("fd30:0:0:8::/61")
    words = f"ipv4 unicast neighbors {hostile.link.ipv4} prefix-counts"
    held = lambda: hostile.bgp(words)["ribTableWalkCounters"].get("Adj-in", 0)  # noqa: E731
    hostile.net.until(lambda: held() >= JUNK, "all of them arrive", 90)
    hostile.net.until(lambda: hostile.received("10.30.0.0/20"), "and the worst one", 90)
    assert hostile.from_liar("10.30.0.0/20") == hostile.from_liar("11.0.0.0/24") == []
    assert hostile.memory() - before < MEMORY_MIB * 1024
    said = {
        "site liar announces 10.30.0.0/20, which belongs to tsukuba",
        "site liar announces fd30:0:0:8::/61, a part of what belongs to tsukuba",
        "site liar announces 11.0.0.0/24, which belongs to nobody",
    }
    for site in ("nagoya", "tsukuba"):
        hostile.net.until(lambda s=site: said <= set(hostile.alarms(s)), f"{site} names the liar", PATIENCE)
        assert len(hostile.alarms(site)) < 10
        assert {text.split()[1] for text in hostile.alarms(site)} == {"liar"}
    status = json.loads(hostile.net.sites["nagoya"].netd("status", "-o", "json"))
    assert said <= set(status["overlay"]["alarms"])
    metrics = hostile.metrics()
    assert 'garage_overlay_alarms{site="liar"} 2.0' in metrics
    assert 'garage_overlay_alarms{site="nagoya"} 0.0' in metrics


# --- packets, sent into the tunnels as they are ----------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["10.42.0.9", "fd42::9"])
def test_its_own_machines_reach_the_victims(hostile: Hostile, source: str) -> None:
    """That what follows is not refused for another reason."""
    target = hostile.guest.address6 if ":" in source else hostile.guest.address4
    assert hostile.arrives(source, target, "vm", f"honest from {source}")


@pytest.mark.parametrize(
    "source",
    [
        *("10.41.0.99", "fd41::99", "192.168.77.9", "10.99.0.1", "8.8.8.8", "127.0.0.1", "0.0.0.0"),
        *("100.127.0.1", "fe80::9", "2001:db8:1::2", "fd00::1", "::1"),
    ],
)
def test_others_sources_are_dropped_at_the_link(hostile: Hostile, source: str) -> None:
    """The victim's own, its office's, nobody's, the internet's, links'."""
    target = hostile.guest.address6 if ":" in source else hostile.guest.address4
    assert not hostile.arrives(source, target, "vm", f"from {source}")


@pytest.mark.parametrize("source", ["10.30.0.99", "fd30::99"])
def test_a_neighbours_source_is_dropped_where_the_neighbours_own_link_is_sure(hostile: Hostile, source: str) -> None:
    """The liar may carry tsukuba's packets when tsukuba cannot come by itself, and only then."""
    target = hostile.guest.address6 if ":" in source else hostile.guest.address4
    hostile.net.until(hostile.bound_to_tsukuba, "tsukuba is bound to its own link", 2 * PATIENCE)
    assert not hostile.arrives(source, target, "vm", f"from {source}")


@pytest.mark.parametrize(
    ("target", "sink"),
    [
        (OFFICE_HOST, "office"),
        (INTERNET, "internet"),
        ("10.41.0.1", "nagoya"),
        ("fd41::1", "nagoya"),
        ("192.168.77.1", "nagoya"),
        ("203.0.113.10", "nagoya"),
        ("127.0.0.1", "nagoya"),
    ],
)
def test_nothing_but_the_victims_machines_is_reached(hostile: Hostile, target: str, sink: str) -> None:
    """Not its office, not the internet by its uplink, not its own ports by any of its addresses."""
    source = "fd42::9" if ":" in target else "10.42.0.9"
    assert not hostile.arrives(source, target, sink, f"from {source} to {target}")


def test_the_peer_itself_reaches_bgp_and_echo_and_no_other_port(hostile: Hostile) -> None:
    own, peer = hostile.link.ipv4, hostile.link.peer_ipv4
    for victim, liar in ((own, peer), (hostile.link.ipv6, hostile.link.peer_ipv6)):
        assert not hostile.arrives(victim, liar, "nagoya", f"to {liar}")
        assert hostile.net.ping("liar", liar)
        for port, answered in ((179, True), (PORT, False), (53, False)):
            code = (
                f"import socket; socket.create_connection(('{liar}', {port}), {10 if answered else 1}, ('{victim}', 0))"
            )
            argv = hostile.world.argv("liar", [sys.executable, "-c", code])
            assert (subprocess.run(argv, capture_output=True, check=False).returncode == 0) is answered, port


WATCH = """table inet watch {{ chain seen {{ type filter hook input priority 0; policy accept;
  ip daddr {own} udp dport 3784 counter name own
  ip daddr {uplink} udp dport {{ 3784, 3785, 4784 }} counter name uplink
}}; counter own {{ }}; counter uplink {{ }}; }}"""
"""Behind our own filters, so it counts what these have let in."""
CONNECT = """import socket, sys
out = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
if sys.argv[3]: out.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, sys.argv[3].encode())
out.settimeout(1)
out.connect((sys.argv[1], int(sys.argv[2])))
"""


def test_bgp_and_bfd_are_spoken_at_the_links_own_addresses_alone(hostile: Hostile) -> None:
    """At none of the server's other addresses, be it over the link or from the internet, and at no port but BGP's own; a program of the
    server that has BGP's port itself hears nothing of it."""
    net, place, link = hostile.net, hostile.world.nodes["nagoya"].lines[0], hostile.link
    device, port = hostile.liar.device("nagoya"), bgp_port(net.sites["nagoya"].network.instance)
    accept = "import socket; s = socket.create_server(('::', 179), family=socket.AF_INET6, dualstack_ipv6=True)\n"
    accept += "print('up', flush=True)\nwhile True: print(s.accept()[1][0], flush=True)"
    argv = hostile.world.argv("nagoya", [sys.executable, "-c", accept])
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:

        def connects(node: str, address: object, number: int, by: str = "") -> bool:
            words = [sys.executable, "-c", CONNECT, str(address), str(number), by]
            return subprocess.run(hostile.world.argv(node, words), capture_output=True, check=False).returncode == 0

        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "up\n"
            assert connects("liar", link.peer_ipv4, 179)
            assert connects("liar", link.peer_ipv6, 179)
            for address in (place.ipv4, place.ipv6, "10.41.0.1", "fd41::1"):
                assert not connects("liar", address, 179, device)
                assert not connects("liar", address, port, device)
                assert not connects("liar", address, port)
            assert connects("nagoya", "127.0.0.1", 179)
        finally:
            server.kill()
        heard = server.stdout.read().split()
    assert heard == ["::ffff:127.0.0.1"]
    net.run("nagoya", ["nft", WATCH.format(own=link.peer_ipv4, uplink=place.ipv4)])
    for number in (3784, 3785, 4784):
        packets = [udp4(link.ipv4, str(address), 50_000, number, b"x") for address in (link.peer_ipv4, place.ipv4)]
        hostile.liar.send("nagoya", packets)
    counted = {name: net.run("nagoya", ["nft", "list", "counter", "inet", "watch", name]) for name in ("own", "uplink")}
    net.run("nagoya", ["nft", "delete", "table", "inet", "watch"])
    assert "packets 1 " in counted["own"]
    assert "packets 0 " in counted["uplink"]


def test_the_places_that_nothing_reaches_can_be_reached(hostile: Hostile) -> None:
    """Each sink by whoever may: otherwise their silence would say nothing."""
    inside = {"office": "192.168.77.1", "nagoya": "127.0.0.1"}
    for name, target in (("office", OFFICE_HOST), ("nagoya", inside["nagoya"]), ("internet", INTERNET)):
        code = f"import socket; socket.socket(2, 2).sendto(b'control', ('{target}', {PORT}))"
        hostile.net.run("nagoya", [sys.executable, "-c", code])
        assert hostile.sinks[name].has("control")


# --- from the internet ------------------------------------------------------------------------------------------------------------

RATE, FLOOD_SECONDS = 2_000, 5
FLOOD = """
import hashlib, os, socket, sys, time
host, port, key, rate, seconds = sys.argv[1], int(sys.argv[2]), bytes.fromhex(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
label = hashlib.blake2s(b"mac1----" + key).digest()
began, sent = time.monotonic(), 0
while sent < rate * seconds:
    while sent < min((time.monotonic() - began) * rate, rate * seconds):
        packet = bytes([1, 0, 0, 0]) + os.urandom(112)
        out.sendto(packet + hashlib.blake2s(packet, key=label, digest_size=16).digest() + bytes(16), (host, port))
        sent += 1
    time.sleep(0.005)
print(time.monotonic() - began)
"""
"""WireGuard's first message (its paper, section 5.4.2) with a right mac1, which every stranger can make who knows the public key, and
nothing right in it: the dearest packets that a stranger has."""


def test_a_flood_of_handshakes_costs_the_honest_links_nothing(hostile: Hostile) -> None:
    """At the port of the link to tsukuba, over which the echoes go."""
    link = next(item for item in hostile.spec("nagoya").links if item.peer_site == "tsukuba")
    back = next(item for item in hostile.spec("tsukuba").links if item.number == link.number)
    victim = str(hostile.world.nodes["nagoya"].lines[0].ipv4)
    key = base64.b64decode(back.peer_key).hex()
    argv = [sys.executable, "-c", FLOOD, victim, str(link.port), key, str(RATE), str(FLOOD_SECONDS)]
    done = subprocess.run(hostile.world.argv("internet", argv), capture_output=True, text=True, timeout=60, check=True)
    assert float(done.stdout) < 2 * FLOOD_SECONDS, "that would be no flood"
    assert hostile.net.ping("nagoya", link.peer_ipv4, count=3)
