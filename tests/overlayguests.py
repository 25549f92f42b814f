"""Machines of an overlay's sites: netd/lab/machines.py's, with what tests ask of them."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from netd.lab import layout, machines
from netd.wire import MachineNet
from tests.overlaynet import OverlayNet


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

    def pings(self, address: str, *, count: int = 1, seconds: float = 1.0) -> bool:
        argv = self.argv(["ping", "-n", "-c", str(count), "-i", "0.2", "-W", str(seconds), address])
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0

    def dig(self, *question: str, tries: int = 1, seconds: int = 2) -> str:
        return self.run(
            "dig", f"+time={seconds}", f"+tries={tries}", "+short", *question, f"@{self.gateway4}", check=False
        )


def add_guest(net: OverlayNet, node: str, who: MachineNet) -> Guest:
    """At a node whose spec names `who`."""
    spec = net.sites[node].network.spec(node)
    place = machines.add(net.world, node, spec.bridge, who)
    fqdn = f"{who.name}.{who.project}.{spec.domain}"
    return Guest(net, place, who.ipv4, who.ipv6, spec.bridge.ipv4, fqdn)
