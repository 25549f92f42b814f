"""Who is who in a laboratory's overlay: numbers, prefixes and machines of all nodes, from the topology alone. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from netd.lab.model import Site, Topology
from netd.wire import MachineNet

OWN_PREFIXES = ("10.30.0.0/20", "fd30::/48")
"""Of the registry's site."""
FIRST_SITE = 40
"""Site n (from 1, without the registry's) has 10.{40 + n}.0.0/20 and fd{40 + n}::/48."""
MACHINE, PROJECT = "vm1", "lab"


@dataclass(frozen=True, slots=True)
class Member:
    """One node. `number`: 0 for the registry's, the others from 1 on in the topology's order."""

    node: str
    site: str
    number: int
    place: int
    """The second byte of the site's prefix, the same for all its nodes."""
    first: bool
    """The site's first node: it joins by the site's invitation and has the site's machine."""

    @property
    def prefixes(self) -> tuple[str, str]:
        return f"10.{self.place}.0.0/20", f"fd{self.place}::/48"

    @property
    def gateways(self) -> tuple[str, str]:
        """The site's own addresses at its nodes."""
        return f"10.{self.place}.0.1", f"fd{self.place}::1"


def members(topology: Topology) -> tuple[Member, ...]:
    """All nodes, the registry's first."""
    own = next(site for site in topology.sites if site.name == topology.overlay.registry)
    others = [site for site in topology.sites if site is not own]
    rows: list[tuple[Site, int]] = [(own, 30), *((site, FIRST_SITE + n) for n, site in enumerate(others, 1))]
    nodes = [(node, site.name, place) for site, place in rows for node in site.nodes]
    firsts = {site.nodes[0] for site in topology.sites}
    return tuple(Member(node, site, n, place, node in firsts) for n, (node, site, place) in enumerate(nodes))


def machine(instance: str, place: int, number: int = 1, name: str = MACHINE) -> MachineNet:
    """Machine `number` of a site, at the node with this instance id."""
    return MachineNet(
        id=f"id{number}",
        tap=f"gt{instance}{number}",
        mac=f"52:67:00:{place:02x}:00:{number:02x}",
        ipv4=f"10.{place}.0.{15 + number}",
        ipv6=f"fd{place}::{15 + number:x}",
        name=name,
        project=PROJECT,
    )


def reachable(topology: Topology) -> tuple[Member, ...]:
    """Those that a link can reach."""
    speaking = {site.name for site in topology.sites if site.speaks_udp}
    return tuple(member for member in members(topology) if member.site in speaking)
