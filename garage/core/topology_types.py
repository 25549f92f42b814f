"""Words of the topology: sites and how they can be reached, wires between their nodes, and what the two ends of a pair allow."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

Way = Literal["open", "cone", "symmetric", "closed"]
"""How a site is reached by UDP in one address family. `open`: anybody may begin; `cone`: behind a NAT or firewall that shows every
destination the same port, so that a hole can be opened; `symmetric`: a port per destination; `closed`: no address, or UDP blocked."""
Reason = Literal["site", "mesh", "hub-hub", "hub", "near"]
"""Why a wire is wanted: nodes of one site, full mesh, between hubs, a site's way to its hubs, a near site."""

LIMIT = 50
"""Links that a node carries without the kernel module (DESIGN): each is a process of its own."""
LIMIT_KERNEL = 200
"""With it. Then FRR sets the limit, by two BGP sessions a link; a node's ports (100 by default) may set a lower one."""
DIRECT: frozenset[frozenset[Way]] = frozenset(
    frozenset(pair)
    for pair in (
        ("open",),
        ("open", "cone"),
        ("open", "symmetric"),
        ("cone",),
        ("cone", "symmetric"),
    )  # one word: both ends
)
"""Pairs that can be linked. A cone that also filters by port does not hear a symmetric peer: such a wire is tried, stays down and
costs nothing, since every site's hubs are open."""


class End(NamedTuple):
    """A node, named with its site."""

    site: str
    node: str


@dataclass(frozen=True, slots=True)
class Node:
    name: str
    limit: int = LIMIT


@dataclass(frozen=True, slots=True)
class Site:
    """A site as the registry knows it."""

    name: str
    nodes: tuple[Node, ...]
    ipv4: Way = "open"
    ipv6: Way = "closed"
    willing: bool = True
    """Its operators let it be made a hub, if it can be reached."""
    hub: bool = False
    """Is one now, as the last plan's `hubs` had it: stays one while it can."""


@dataclass(frozen=True, slots=True, order=True)
class Wire:
    """A wanted or existing link, its ends in order; made by `wire`."""

    a: End
    b: End
    reason: Reason = "mesh"
    up: bool = True
    """Only of existing ones: BGP over it is established."""

    @property
    def ends(self) -> tuple[End, End]:
        return self.a, self.b

    @property
    def sites(self) -> Pair:
        return pair(self.a.site, self.b.site)


Pair = tuple[str, str]
"""Two site names in order."""
Rtt = Mapping[Pair, float]
"""Measured round trips in ms by pair of site names, in either order; sparse."""


def wire(one: End, other: End, reason: Reason = "mesh", *, up: bool = True) -> Wire:
    return Wire(min(one, other), max(one, other), reason, up)


def pair(one: str, other: str) -> Pair:
    return (one, other) if one < other else (other, one)


def linkable(one: Site, other: Site) -> bool:
    """Whether a direct link can be had in one of the families."""
    return frozenset((one.ipv4, other.ipv4)) in DIRECT or frozenset((one.ipv6, other.ipv6)) in DIRECT


def reachable(site: Site) -> bool:
    """Anybody may begin: what a hub must be."""
    return "open" in (site.ipv4, site.ipv6)


def lot(*names: str) -> int:
    """An arbitrary but fixed order of equals, so that load spreads and the order of the input does not matter."""
    return zlib.crc32(" ".join(names).encode())


def merged(rtt: Rtt) -> dict[Pair, float]:
    """By ordered pair, the lesser where both directions were measured."""
    found: dict[Pair, float] = {}
    for (one, other), value in rtt.items():
        key = pair(one, other)
        found[key] = min(value, found.get(key, value))
    return found


def by_name(sites: Iterable[Site]) -> dict[str, Site]:
    """Sorted by name; a name twice is an error of the caller."""
    ordered = sorted(sites, key=lambda site: site.name)
    found = {site.name: site for site in ordered}
    if len(found) != len(ordered):
        raise ValueError("a site is there twice")
    return found
