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

import json
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from netd.core.overlay import interface
from netd.lab.parse import parse
from netd.lab.world import World
from tests.overlayguests import add_guest, machine
from tests.overlayliar import Liar
from tests.overlaynet import OverlayNet
from tests.overlaysink import Sink
from tests.overlaysteady import Steady

pytestmark = pytest.mark.kernel

TOPOLOGY = """
name: hostile
sites:
  tsukuba: {lines: {tsukuba-line: {delay: 4ms}}}
  nagoya: {lines: {nagoya-line: {delay: 6ms}}}
  liar: {lines: {liar-line: {delay: 5ms}}}
"""
PATIENCE = 40.0
"""Seconds; the server is shared."""
OFFICE, OFFICE_HOST = "192.168.77.0/24", "192.168.77.7"
INTERNET = "9.9.9.9"
JUNK = 10_000
MEMORY_MIB = 32
"""Most that bgpd may grow by for `JUNK` prefixes: 3 MiB were seen with FRR 8.4."""


class Hostile:
    """The overlay, the victim's view of it, and the liar."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.net = net = OverlayNet(world, registry="tsukuba")
        net.prepare("nagoya", 1, site="nagoya", machines=(machine(net, 1, 1),))
        net.prepare("liar", 2, site="liar")
        for site in ("nagoya", "liar"):
            net.join(site, net.invite(site, "--own-name", "tsukuba"))
        for one, address in (("nagoya", "10.30.0.1"), ("nagoya", "10.42.0.1"), ("liar", "10.30.0.1")):
            net.until(lambda a=one, b=address: net.ping(a, b, seconds=0.5), f"{one} reaches {address}", PATIENCE)
        self.guest = add_guest(net, "nagoya", machine(net, 1, 1))
        self.office = self._add_office()
        net.until(lambda: self.guest.pings("10.30.0.1"), "the machine reaches tsukuba", PATIENCE)
        places = {"vm": self.guest.argv, "office": self.office, "nagoya": partial(world.argv, "nagoya")}
        places["internet"] = partial(world.argv, "internet")
        self.sinks = {name: Sink(inside, net.folder / f"sink-{name}.log") for name, inside in places.items()}
        self.steady = Steady(self.guest.argv, "10.30.0.1", net.folder / "steady.log")
        began = int(time.time())
        self.liar = Liar(net, "liar")
        self.link = self.liar.link("nagoya")
        """The liar's end of its link to the victim."""
        own = (self.link.ipv4, self.link.ipv6)
        net.until(lambda: all(self.sessions().get(peer, 0) >= began for peer in own), "ExaBGP's sessions", PATIENCE)
        self.liar.announce_own()
        net.until(lambda: self.via_liar("10.42.0.0/20"), "the liar's own prefix is taken", PATIENCE)
        net.until(lambda: self.via_liar("fd42::/48"), "the liar's own IPv6 prefix is taken", PATIENCE)

    def _add_office(self) -> Any:
        """A network behind nagoya that no spec may open."""
        place, inside = self.world.namespace("nagoya.office"), self.world.namespace("nagoya")
        for words in (
            f"netns add {place}",
            f"-n {inside} link add office0 type veth peer name eth0 netns {place}",
            f"-n {inside} address add 192.168.77.1/24 dev office0",
            f"-n {inside} link set office0 up",
            f"-n {place} link set lo up",
            f"-n {place} address add {OFFICE_HOST}/24 dev eth0",
            f"-n {place} link set eth0 up",
            f"-n {place} route add default via 192.168.77.1",
        ):
            subprocess.run(["ip", *words.split()], check=True)
        (self.net.sites["nagoya"].folder / "office.networks").write_text(f"{OFFICE}\n")
        return lambda argv: ["ip", "netns", "exec", place, *argv]

    def bgp(self, words: str, node: str = "nagoya") -> dict[str, Any]:
        instance = self.net.own if node == "tsukuba" else self.net.sites[node].network.instance
        said = self.net.run(node, ["vtysh", "-N", f"garage_{instance}", "-c", f"show bgp {words} json"])
        found: dict[str, Any] = json.loads(said or "{}")
        return found

    def received(self, prefix: str) -> str | None:
        """The AS path with which the victim holds a prefix of the liar, refused or not."""
        family, own = ("ipv6", self.link.ipv6) if ":" in prefix else ("ipv4", self.link.ipv4)
        routes = self.bgp(f"{family} unicast neighbors {own} received-routes").get("receivedRoutes", {})
        return str(routes[prefix]["path"]) if prefix in routes else None

    def paths(self, prefix: str) -> list[dict[str, Any]]:
        """What the victim believes about a prefix: only what passed the filters, by FRR's own lookup of exactly it."""
        family = "ipv6" if ":" in prefix else "ipv4"
        found = self.bgp(f"{family} unicast {prefix}")
        return [path for path in found.get("paths", []) if found.get("prefix") == prefix]

    def from_liar(self, prefix: str) -> list[dict[str, Any]]:
        return [path for path in self.paths(prefix) if path["peer"]["peerId"] in (self.link.ipv4, self.link.ipv6)]

    def via_liar(self, prefix: str) -> bool:
        """Whether the victim's kernel sends a prefix to the liar."""
        family = "-6" if ":" in prefix else "-4"
        routes = self.net.run("nagoya", ["ip", family, "route", "show", prefix])
        return f"dev {self.device} " in routes

    @property
    def device(self) -> str:
        """The victim's end of the link to the liar."""
        return interface(self.net.sites["nagoya"].network.instance, self.link.number)

    def sessions(self) -> dict[str, int]:
        """Of the victim: when each session began, in seconds since 1970 and off by one at times, by peer."""
        summary = self.bgp("summary")
        return {
            peer: item["peerUptimeEstablishedEpoch"]
            for family in summary.values()
            if isinstance(family, dict)
            for peer, item in family.get("peers", {}).items()
            if item["state"] == "Established"
        }

    def memory(self) -> int:
        """KiB that the victim's bgpd holds."""
        instance = self.net.sites["nagoya"].network.instance
        number = Path(f"/var/run/frr/garage_{instance}/bgpd.pid").read_text().strip()
        status = Path(f"/proc/{number}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1))  # type: ignore[union-attr]

    def alarms(self, site: str = "nagoya") -> list[str]:
        """As the registry has them."""
        found: list[str] = json.loads(self.net.garage("-o", "json", "site", "show", site))["alarms"]
        return found

    def close(self) -> None:
        for part in (*self.sinks.values(), self.steady):
            part.close()
        self.net.close()


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
    before = hostile.sessions()
    assert len(before) == 4
    yield
    assert hostile.steady.lost() == []
    after = hostile.sessions()
    assert after.keys() == before.keys()
    assert all(abs(after[peer] - before[peer]) <= 2 for peer in before)
    assert hostile.via_liar("10.42.0.0/20")
    assert hostile.via_liar("fd42::/48")


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
