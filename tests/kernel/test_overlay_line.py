"""Lines with limits: a volume cap, a slow upstream, a small MTU; all real, in namespaces.

tsukuba (the registry) ──(4 ms)──────────────────┐
nagoya ──(6 ms, 20 Mb/s)─────────────────────────┤ internet
naha ──(8 ms, 1454 bytes)────────────────────────┘
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from netd.core.volume import GIB, Ledger, month
from netd.lab.parse import parse
from netd.lab.world import World
from tests.overlayguests import add_guest, machine
from tests.overlaynet import OverlayNet

pytestmark = pytest.mark.kernel

TOPOLOGY = """
name: lines
sites:
  tsukuba: {lines: {tsukuba-line: {delay: 4ms}}}
  nagoya: {lines: {nagoya-line: {delay: 6ms, rate: 20Mb/s}}}
  naha: {lines: {naha-line: {delay: 8ms, mtu: 1454}}}
"""
NARROW = """
table inet narrow {
  chain forward {
    type filter hook forward priority 0; policy accept;
    iifname "nagoya-line" meta length > 1400 drop
    oifname "nagoya-line" meta length > 1400 drop
    meta l4proto { icmp, ipv6-icmp } drop
  }
}
"""
"""A way on which large packets are lost, and nobody says so."""
FLOOD = """
import socket, sys, time
made = [(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), (to, 9)) for to in sys.argv[1:]]
end = time.monotonic() + 8
while time.monotonic() < end:
    for one, to in made:
        for _ in range(8):
            one.sendto(bytes(1200), to)
    time.sleep(0.002)
"""
"""For eight seconds some 25 Mb/s to each address."""
TAKE = """
import socket
server = socket.create_server(("", 7001))
print("up", flush=True)
came, _ = server.accept()
got = 0
while got < 200000:
    got += len(came.recv(65536))
came.sendall(b"200000")
"""
GIVE = """
import socket, sys
made = socket.create_connection((sys.argv[1], 7001), 5)
made.settimeout(10)
made.sendall(bytes(200000))
print(made.recv(99).decode())
"""
NUMBERS = {"nagoya": 1, "naha": 2}
GATEWAYS = {"tsukuba": "10.30.0.1", "nagoya": "10.41.0.1", "naha": "10.42.0.1"}
PATIENCE = 60.0
"""Seconds; the server is shared."""


class Lines:
    """The overlay; a site's netd can be started again with other settings."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.net = OverlayNet(world, registry="tsukuba")
        for site, number in NUMBERS.items():
            self.net.prepare(site, number, site=site, machines=(machine(self.net, number, 1),))
            self.net.join(site, self.net.invite(site, "--own-name", "tsukuba"))
        for site in NUMBERS:
            self.net.until(lambda s=site: self.pings(s), f"{site} reaches the registry", PATIENCE)
        self.guests = {site: add_guest(self.net, site, machine(self.net, NUMBERS[site], 1)) for site in NUMBERS}

    def pings(self, site: str, target: str = "tsukuba", **more: Any) -> bool:
        return self.net.ping(site, GATEWAYS[target], **more)

    def restart(self, site: str, settings: str, *, kill: signal.Signals = signal.SIGTERM) -> None:
        """netd of `site` with these lines at the end of its netd.toml."""
        node = self.net.sites[site]
        self.stop(site, kill)
        base = node.config.read_text().split("[[line]]")[0]
        node.config.write_text(base + settings)
        self.net.processes[site] = node.start()

    def stop(self, site: str, kill: signal.Signals = signal.SIGTERM) -> None:
        self.net.processes[site].send_signal(kill)
        self.net.processes[site].wait(20)

    def asn(self, site: str) -> str:
        return str(self.status(site)["overlay"]["asn"])

    def paths(self, site: str, prefix: str) -> list[str]:
        """AS paths that it knows to a prefix, the shortest first."""
        command = ["vtysh", "-N", f"garage_{self.instance(site)}", "-c", f"show bgp ipv4 unicast {prefix} json"]
        rows = json.loads(self.net.run(site, command)).get("paths", [])
        return sorted((row["aspath"]["string"] for row in rows), key=len)

    def status(self, site: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.net.sites[site].netd("status", "-o", "json"))
        return found

    def mtus(self, site: str) -> dict[str, int]:
        """Of its links' interfaces."""
        rows = json.loads(self.net.run(site, ["ip", "-json", "link", "show"]))
        return {row["ifname"]: row["mtu"] for row in rows if row["ifname"].startswith(f"gl{self.instance(site)}")}

    def instance(self, site: str) -> str:
        return self.net.own if site == "tsukuba" else self.net.sites[site].network.instance

    def downs(self, site: str) -> int:
        """How often BFD took a link down."""
        command = ["vtysh", "-N", f"garage_{self.instance(site)}", "-c", "show bfd peers counters json"]
        return sum(row["session-down"] for row in json.loads(self.net.run(site, command)))

    def shaped(self, site: str) -> tuple[str, str]:
        """All filters and queues of ours: (the line's queue, the filters of links and uplink)."""
        rows = json.loads(self.net.run(site, ["ip", "-json", "link", "show"]))
        names = [row["ifname"] for row in rows]
        queues = [name for name in names if name.startswith(f"gs{self.instance(site)}")]
        shown = [self.net.run(site, ["tc", "class", "show", "dev", name], check=False) for name in queues]
        filters = [self.net.run(site, ["tc", "filter", "show", "dev", name, "egress"], check=False) for name in names]
        return "".join(shown), "".join(text for text in filters if "mirred" in text)

    def carries(self, source: str, target: str) -> bool:
        """200 kB of TCP from one site's machine to another's, whose network cards know nothing of links."""
        there = self.guests[target]
        server = subprocess.Popen(there.argv([sys.executable, "-c", TAKE]), stdout=subprocess.PIPE)
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == b"up\n"
            return self.guests[source].run(sys.executable, "-c", GIVE, there.address4, check=False) == "200000"
        finally:
            server.kill()
            server.wait()

    def peers(self, site: str) -> list[str]:
        """IPv4 addresses of its links' other ends, where BFD stands."""
        command = ["vtysh", "-N", f"garage_{self.instance(site)}", "-c", "show bfd peers json"]
        rows = json.loads(self.net.run(site, command))
        return sorted(row["peer"] for row in rows if row["status"] == "up" and ":" not in row["peer"])

    def reported(self, site: str) -> bool:
        """Whether the netd that runs now has written down what it sees, seven seconds ago."""
        path = self.net.sites[site].state / "overlay" / "state.json"
        started = Path(f"/proc/{self.net.processes[site].pid}").stat().st_ctime
        return path.exists() and path.stat().st_mtime > started + 7

    def nice(self, site: str) -> dict[str, int]:
        """Least urgent nice value by name of the overlay's own programs."""
        inside = self.net.run(site, ["ip", "netns", "pids", self.world.namespace(site)]).split()
        found: dict[str, int] = {}
        for number in inside:
            name = Path(f"/proc/{number}/comm").read_text().strip() if Path(f"/proc/{number}").exists() else ""
            if name in ("wireguard-go", "zebra", "bgpd", "bfdd"):
                threads = [int(path.name) for path in Path(f"/proc/{number}/task").iterdir()]
                values = [os.getpriority(os.PRIO_PROCESS, thread) for thread in threads]
                found[name] = max([found.get(name, -20), *values])
        return found

    def sent(self, site: str) -> dict[str, int]:
        """Bytes by class of the line's queue."""
        text = self.net.run(site, ["tc", "-s", "class", "show", "dev", f"gs{self.instance(site)}0"])
        return {name: int(octets) for name, octets in re.findall(r"class htb (\S+) .*\n Sent (\d+) bytes", text)}

    def problems(self, site: str) -> str:
        return "; ".join(self.status(site)["overlay"]["problems"])


@pytest.fixture(scope="module")
def lines() -> Iterator[Lines]:
    with World(parse(TOPOLOGY)) as world:
        made = Lines(world)
        try:
            yield made
        finally:
            made.net.close()


def test_a_volume_is_told_and_held_and_a_higher_one_ends_the_stop(lines: Lines) -> None:
    """Some MB of pings each way; netd is killed in between, and counts on."""
    net, cap = lines.net, "[[line]]\nvolume_gib = {}\n".format
    lines.restart("nagoya", cap(0.003))
    net.until(lambda: lines.pings("nagoya"), "links go on", PATIENCE)
    flood = ["ping", "-n", "-q", "-i", "0.002", "-s", "1000", "-W", "2", GATEWAYS["tsukuba"], "-c"]
    net.run("nagoya", [*flood, "1500"], check=False)
    net.until(lambda: "are used in" in lines.problems("nagoya"), "it is told", PATIENCE)
    lines.restart("nagoya", cap(0.003), kill=signal.SIGKILL)
    net.run("nagoya", [*flood, "400"], check=False)  # what was lost on the way
    net.until(lambda: lines.status("nagoya")["overlay"]["paused"], "the stop", PATIENCE)
    net.until(lambda: "traffic is stopped until" in lines.problems("nagoya"), "that is told, too", PATIENCE)
    assert not lines.pings("nagoya")
    assert not lines.pings("tsukuba", "nagoya")
    assert "still stopped" in net.sites["nagoya"].netd("resume")
    lines.restart("nagoya", cap(3))
    net.until(lambda: lines.pings("nagoya"), "a higher cap", PATIENCE)
    assert not lines.status("nagoya")["overlay"]["paused"]


def test_a_volume_that_is_nearly_used_up_asks_others_to_go_other_ways(lines: Lines) -> None:
    """96 % in the ledger of this month: what nagoya tells of itself is three longer; it is reached as before, as there is no other way."""
    net, path = lines.net, lines.net.sites["nagoya"].state / "volume.json"
    lines.stop("nagoya")
    used = {"uplink": {month(time.time()): round(0.96 * GIB)}}
    path.write_bytes(msgspec.json.encode(Ledger(at=time.time(), used=used)))
    lines.restart("nagoya", "[[line]]\nvolume_gib = 1\n")
    asn = lines.asn("nagoya")

    def named() -> set[int]:
        """How often nagoya names itself in what tsukuba hears, from itself and, where naha goes no detour either, from naha."""
        paths = [path.split() for path in lines.paths("tsukuba", "10.41.0.0/20")]
        return {path.count(asn) for path in paths} if [asn] in [path[:1] for path in paths] else set()

    net.until(lambda: named() == {4}, "longer ways", PATIENCE)
    assert lines.pings("nagoya")
    assert lines.pings("tsukuba", "nagoya")
    net.until(lambda: "other sites are asked to go other ways" in lines.problems("nagoya"), "it is told", PATIENCE)
    lines.restart("nagoya", "")
    net.until(lambda: named() == {1}, "as before", PATIENCE)


def test_a_full_line_takes_no_link_down(lines: Lines) -> None:
    """Over a link and to the internet together more than twice what the line carries; without a queue here a quarter of all is lost."""
    net, flood = lines.net, [sys.executable, "-c", FLOOD, GATEWAYS["tsukuba"], "192.0.2.1"]
    lines.restart("nagoya", "[[line]]\nrate_mbit = 20\n")
    net.until(
        lambda: lines.shaped("nagoya")[1].count("mirred") == 4, "two links, and the uplink's two families", PATIENCE
    )
    net.until(lambda: len(lines.peers("nagoya")) == 2, "BFD stands", PATIENCE)
    before, sent = lines.downs("nagoya"), lines.sent("nagoya")
    running = net.start("nagoya", flood, "flood")
    pings = ["ping", "-n", "-q", "-i", "0.1", "-c", "70", "-W", "3", lines.peers("nagoya")[0]]
    said = net.run("nagoya", pings, check=False)
    assert running.wait(20) == 0
    lost = re.search(r"([0-9.]+)% packet loss", said)
    assert lost
    assert float(lost[1]) <= 5, said
    assert lines.downs("nagoya") == before
    grown = {name: octets - sent[name] for name, octets in lines.sent("nagoya").items()}
    assert grown["6c61:20"] > 2_000_000, "the link"
    assert grown["6c61:30"] > 2_000_000, "the internet"
    assert 70 * 80 < grown["6c61:16"] < 1_000_000, "control"


def test_a_second_start_changes_nothing_and_without_a_rate_nothing_is_left(lines: Lines) -> None:
    net, made, log = lines.net, lines.shaped("nagoya"), lines.net.folder / "nagoya" / "netd.log"
    assert "6c61:16" in made[0]
    told = log.read_text().count("INFO lines:")
    lines.restart("nagoya", "[[line]]\nrate_mbit = 20\n")
    net.until(lambda: lines.reported("nagoya"), "netd reports again", PATIENCE)
    assert lines.shaped("nagoya") == made
    assert log.read_text().count("INFO lines:") == told
    assert lines.nice("nagoya") == {"wireguard-go": -10, "zebra": -15, "bgpd": -15, "bfdd": -15}
    lines.restart("nagoya", "")
    net.until(lambda: lines.shaped("nagoya") == ("", ""), "all is removed", PATIENCE)
    assert "clsact" not in net.run("nagoya", ["tc", "qdisc", "show"])
    assert lines.pings("nagoya")


def test_both_ends_of_a_link_over_a_line_of_1454_bytes_have_its_mtu(lines: Lines) -> None:
    """The way is IPv6's, which takes 80 bytes. The other end's own line has 1,500."""
    lines.net.until(lambda: set(lines.mtus("naha").values()) == {1374}, "naha's MTU", PATIENCE)
    lines.net.until(lambda: 1374 in lines.mtus("tsukuba").values(), "tsukuba's MTU of that link", PATIENCE)
    shown = [link["mtu"] for link in lines.status("naha")["overlay"]["links"]]
    assert set(shown) == {1374}
    assert not [line for line in lines.status("naha")["pending"] if "mtu" in line], "what was measured is no difference"
    assert 1420 in lines.mtus("tsukuba").values(), "nagoya's line is wider"


def test_packets_that_vanish_are_found_inside_the_link(lines: Lines) -> None:
    """Where nobody answers outside either; netd, started again, measures again."""
    net = lines.net
    net.until(lambda: set(lines.mtus("nagoya").values()) == {1374, 1420}, "the links' MTUs as they are", PATIENCE)
    lines.world.exec("internet", ["nft", "-f", "-"], input=NARROW)
    try:
        lines.restart("nagoya", "")
        net.until(lambda: set(lines.mtus("nagoya").values()) <= set(range(1290, 1321)), "the narrow way's MTU", 60)
        assert lines.carries("nagoya", "naha")
        assert lines.carries("naha", "nagoya")
    finally:
        lines.world.exec("internet", ["nft", "delete", "table", "inet", "narrow"])


def test_leaving_takes_the_queue_along(lines: Lines) -> None:
    net = lines.net
    lines.restart("naha", "[[line]]\nrate_mbit = 50\n")
    net.until(lambda: lines.shaped("naha")[1].count("mirred") == 4, "the filters", PATIENCE)
    net.sites["naha"].netd("leave")
    net.until(lambda: lines.shaped("naha") == ("", ""), "all is removed", PATIENCE)
    net.until(lambda: not lines.mtus("naha"), "links, too", PATIENCE)
