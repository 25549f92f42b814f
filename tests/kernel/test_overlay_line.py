"""Lines with limits: a volume cap, a slow upstream, a small MTU; all real, in namespaces.

tsukuba (the registry) ──(4 ms)──────────────────┐
nagoya ──(6 ms, 20 Mb/s)─────────────────────────┤ internet
naha ──(8 ms, 1454 bytes)────────────────────────┘
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from netd.lab.parse import parse
from netd.lab.world import World
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
NUMBERS = {"nagoya": 1, "naha": 2}
GATEWAYS = {"tsukuba": "10.30.0.1", "nagoya": "10.41.0.1", "naha": "10.42.0.1"}
PATIENCE = 30.0
"""Seconds; the server is shared."""


class Lines:
    """The overlay; a site's netd can be started again with other settings."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.net = OverlayNet(world, registry="tsukuba")
        for site, number in NUMBERS.items():
            self.net.prepare(site, number, site=site)
            self.net.join(site, self.net.invite(site, "--own-name", "tsukuba"))
        for site in NUMBERS:
            self.net.until(lambda s=site: self.pings(s), f"{site} reaches the registry", PATIENCE)

    def pings(self, site: str, target: str = "tsukuba", **more: Any) -> bool:
        return self.net.ping(site, GATEWAYS[target], **more)

    def restart(self, site: str, settings: str, *, kill: signal.Signals = signal.SIGTERM) -> None:
        """netd of `site` with these lines at the end of its netd.toml."""
        node, process = self.net.sites[site], self.net.processes[site]
        process.send_signal(kill)
        process.wait(20)
        base = node.config.read_text().split("[[line]]")[0]
        node.config.write_text(base + settings)
        self.net.processes[site] = node.start()

    def status(self, site: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.net.sites[site].netd("status", "-o", "json"))
        return found

    def mtus(self, site: str) -> dict[str, int]:
        """Of its links' interfaces."""
        instance = self.net.own if site == "tsukuba" else self.net.sites[site].network.instance
        rows = json.loads(self.net.run(site, ["ip", "-json", "link", "show"]))
        return {row["ifname"]: row["mtu"] for row in rows if row["ifname"].startswith(f"gl{instance}")}

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
    flood = ["ping", "-n", "-q", "-f", "-c", "1500", "-s", "1000", "-W", "2", GATEWAYS["tsukuba"]]
    net.run("nagoya", flood, check=False)
    net.until(lambda: "are used in" in lines.problems("nagoya"), "it is told", PATIENCE)
    lines.restart("nagoya", cap(0.003), kill=signal.SIGKILL)
    net.until(lambda: "are used in" in lines.problems("nagoya"), "it is told after a kill", PATIENCE)
    net.until(lambda: lines.status("nagoya")["overlay"]["paused"], "the stop", PATIENCE)
    assert "other sites' traffic is stopped until" in lines.problems("nagoya")
    assert not lines.pings("nagoya")
    assert not lines.pings("tsukuba", "nagoya")
    assert "still stopped" in net.sites["nagoya"].netd("resume")
    lines.restart("nagoya", cap(3))
    net.until(lambda: lines.pings("nagoya"), "a higher cap", PATIENCE)
    assert not lines.status("nagoya")["overlay"]["paused"]


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
        assert lines.pings("nagoya")
        big = ["ping", "-n", "-c", "3", "-i", "0.3", "-M", "do", "-W", "2", "-s", "1200", GATEWAYS["tsukuba"]]
        assert " 0% packet loss" in net.run("nagoya", big)
    finally:
        lines.world.exec("internet", ["nft", "delete", "table", "inet", "narrow"])
