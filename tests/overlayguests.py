"""Machines of an overlay's sites: netd/lab/machines.py's, with what tests ask of them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from netd.lab import layout, machines
from netd.wire import MachineNet
from tests.overlaynet import OverlayNet
from tests.overlaypings import answered


def machine(net: OverlayNet, site: int, number: int, name: str = "vm", *, node: int | None = None) -> MachineNet:
    """Machine `number` of a site, at its node `node`: as `OverlayNet.prepare(…, node, of=site)` numbers them."""
    return layout.machine(net.instance(node or site), 40 + site, number, name)


@dataclass(frozen=True)
class Guest:
    """Ends with the world: its namespace carries the world's prefix."""

    net: OverlayNet
    place: str
    address4: str
    address6: str
    gateway4: str
    fqdn: str

    def argv(self, argv: Sequence[str]) -> list[str]:
        return ["ip", "netns", "exec", self.place, *argv]

    def run(self, *argv: str, check: bool = True) -> str:
        done = subprocess.run(self.argv(argv), capture_output=True, text=True, timeout=60, check=False)
        assert not check or done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def pings(self, address: str, *, count: int = 1, seconds: float = 2.0) -> bool:
        """Whether all of so many echoes are answered."""
        return answered(self.argv, address, count, seconds) == count

    def dig(self, *question: str) -> str:
        """The answer alone; asked twice if nothing comes."""
        return self.run("dig", "+time=3", "+tries=2", "+short", *question, f"@{self.gateway4}", check=False)

    def dig_timed(self, *question: str) -> tuple[str, float]:
        """The answer to one question, and the seconds that it took dig to get it; without the start of its process."""
        said = self.run("dig", "+time=10", "+tries=1", "+noall", "+answer", "+stats", *question, f"@{self.gateway4}")
        took = re.search(r"^;; Query time: (\d+) msec", said, re.M)
        assert took, said
        return said.split(";;")[0].strip().rpartition("\t")[2].split(" ")[-1], int(took[1]) / 1000


def add_guest(net: OverlayNet, node: str, who: MachineNet) -> Guest:
    """At a node whose spec names `who`."""
    spec = net.sites[node].network.spec(node)
    place = machines.add(net.world, node, spec.bridge, who)
    fqdn = f"{who.name}.{who.project}.{spec.domain}"
    return Guest(net, place, who.ipv4, who.ipv6, spec.bridge.ipv4, fqdn)
