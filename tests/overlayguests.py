"""Machines of an overlay's sites: namespaces with a veth on a site's bridge, numbered by hand as DHCP would."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from netd.lab.sites import Network
from netd.wire import MachineNet
from tests.overlaynet import OverlayNet


def machine(net: OverlayNet, site: int, number: int, name: str = "vm", *, node: int | None = None) -> MachineNet:
    """Machine `number` of a site, at its node `node`: as `OverlayNet.prepare(…, node, of=site)` numbers them."""
    return MachineNet(
        id=f"id{number}",
        tap=f"gt{net.instance(node or site)}{number}",
        mac=f"52:67:00:{site:02x}:00:{number:02x}",
        ipv4=f"10.{40 + site}.0.{15 + number}",
        ipv6=f"fd{40 + site}::{15 + number:x}",
        name=name,
        project="lab",
    )


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
    network: Network = net.sites[node].network
    spec = network.spec(node)
    inside, place = net.world.namespace(node), net.world.namespace(f"{node}.{who.name}")
    lines = [
        f"netns add {place}",
        f"-n {place} link set lo up",
        f"-n {inside} link add {who.tap} type veth peer name eth0 netns {place}",
        f"-n {place} link set eth0 address {who.mac} up",
        f"-n {inside} link set {who.tap} master {spec.bridge.name} up",
        f"-n {place} addr add {who.ipv4}/32 dev eth0",
        f"-n {place} addr add {who.ipv6}/128 dev eth0 nodad",
    ]
    for gateway in (spec.bridge.ipv4, spec.bridge.ipv6):
        lines += [f"-n {place} route replace {gateway} dev eth0", f"-n {place} route replace default via {gateway}"]
    for line in lines:
        subprocess.run(["ip", *line.split()], check=True, capture_output=True, text=True)
    fqdn = f"{who.name}.{who.project}.{spec.domain}"
    return Guest(net, place, who.ipv4, who.ipv6, spec.bridge.ipv4, fqdn)
