"""An overlay with a victim and a liar: tsukuba (the registry), nagoya with a machine and an office behind it, and the liar.

The liar joins as everybody does; then ExaBGP speaks in the place of its FRR, over its own tunnels. The machine's echoes to tsukuba run
all along.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from netd.core.overlay import interface
from netd.lab.world import World
from netd.wire import LinkSpec, decode
from netd.wire.envelope import Envelope
from tests.kernel.frames import udp4, udp6
from tests.overlayguests import add_guest, machine
from tests.overlayliar import Liar
from tests.overlaynet import OverlayNet
from tests.overlaysink import PORT, Sink
from tests.overlaysteady import Steady
from tests.stalls import Stalls

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
        net.until(lambda: len(self.sessions()) == 4, "nagoya's sessions", PATIENCE)
        self.guest = add_guest(net, "nagoya", machine(net, 1, 1))
        self.office = self._add_office()
        net.until(lambda: self.guest.pings("10.30.0.1"), "the machine reaches tsukuba", PATIENCE)
        places = {"vm": self.guest.argv, "office": self.office, "nagoya": partial(world.argv, "nagoya")}
        places["internet"] = partial(world.argv, "internet")
        self.sinks = {name: Sink(inside, net.folder / f"sink-{name}.log") for name, inside in places.items()}
        self.steady = Steady(self.guest.argv, "10.30.0.1", net.folder / "steady.log")
        self.stalls = Stalls(net.folder / "stalls.log")
        self.liar = Liar(net, "liar")
        self.link = self.liar.link("nagoya")
        """The liar's end of its link to the victim."""
        own = (self.link.ipv4, self.link.ipv6)
        net.until(
            lambda: not self.bfd_up() & {*own}, "the victim's BFD gives the liar up, which ends its sessions", PATIENCE
        )
        time.sleep(1)  # its sessions end with that, so one that stands now is ExaBGP's
        net.until(lambda: len(self.sessions()) == 4, "ExaBGP's sessions", PATIENCE)
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

    def spec(self, node: str) -> LinkSpec:
        """The registry's document in force at a node."""
        folder = "tsukuba" if node == "tsukuba" else node
        sealed = (self.net.folder / folder / "netd" / "overlay" / "link.json").read_bytes()
        return decode(decode(sealed, Envelope).payload, LinkSpec)

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

    def bfd_up(self) -> set[str]:
        """The victim's peers that BFD holds for alive."""
        instance = self.net.sites["nagoya"].network.instance
        said = self.net.run("nagoya", ["vtysh", "-N", f"garage_{instance}", "-c", "show bfd peers json"])
        return {item["peer"] for item in json.loads(said or "[]") if item["status"] == "up"}

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

    @contextlib.contextmanager
    def unharmed(self) -> Iterator[None]:
        """Meanwhile no echo between honest sites is lost, no session of the victim ends or is new."""
        before, began = self.sessions(), time.monotonic()
        assert len(before) == 4
        yield
        lost = self.steady.lost()
        if stalls := self.stalls.since(began):  # nobody kept BFD alive, so this says nothing of the liar
            warnings.warn(f"the server stood still {stalls}; lost: {lost}", stacklevel=2)
            self.net.until(lambda: len(self.sessions()) == 4, "the victim's sessions", PATIENCE)
            return
        assert not lost, f"echoes without an answer: {lost}"
        after = self.sessions()
        assert after.keys() == before.keys()
        new = {peer: (before[peer], at) for peer, at in after.items() if abs(at - before[peer]) > 2}
        assert not new, f"sessions that began anew: {new}"
        assert self.via_liar("10.42.0.0/20")
        assert self.via_liar("fd42::/48")

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

    def bound_to_tsukuba(self) -> bool:
        """Whether the victim's filters expect tsukuba's packets by no link but its own."""
        table = f"garage_{self.net.sites['nagoya'].network.instance}"
        text = self.net.run("nagoya", ["nft", "list", "chain", "inet", table, "from_bound"])
        return "10.30.0.0/20 : jump" in text

    def arrives(self, source: str, target: str, sink: str, text: str) -> bool:
        """Whether a packet of the liar reaches a place. Packets of a tunnel keep their order: when an honest one behind it has reached
        the machine, it has had its time."""
        make = udp6 if ":" in source else udp4
        honest, after = ("10.42.0.9", self.guest.address4), f"after {text}"
        packets = [make(source, target, 40_000, PORT, text.encode()), udp4(*honest, 40_000, PORT, after.encode())]
        self.liar.send("nagoya", packets)
        assert self.sinks["vm"].has(after), "not even an honest packet arrives"
        return self.sinks[sink].has(text, 0.2)

    def metrics(self) -> str:
        """The registry's `/metrics`, as Prometheus gets them."""
        code = "import ssl, sys, urllib.request as u; c = ssl._create_unverified_context()\n"
        code += "print(u.urlopen(sys.argv[1] + '/metrics', context=c).read().decode())"
        return self.net.run("tsukuba", [sys.executable, "-c", code, self.net.url])

    def close(self) -> None:
        for part in (*self.sinks.values(), self.steady, self.stalls):
            part.close()
        self.net.close()
