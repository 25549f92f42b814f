"""A topology in the making, between sites: who has room, what is linked already, and what is measured."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from garage.core.topology_types import Pair, Reason, Rtt, Site, linkable, lot, merged, pair, reachable

UNKNOWN = float("inf")
CLOSEST = 16
"""How many of a site's measured neighbours an estimate looks at: 16 × 16 candidates are plenty for a few links."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Figures of the topology; the defaults are DESIGN's, or follow from its limit of 50 links."""

    mesh_sites: int = 20
    """Full mesh up to so many sites."""
    hubs_per_site: int = 2
    hubs: int = 3
    """At least, where as many can be had: with one lost, two are left."""
    near: int = 3
    """Near links that a site looks for."""
    near_most: int = 5
    """Near links that a site takes part in, others' choices included."""
    between_hubs: int = 3
    """Links to other hubs that a hub looks for; three at random make a graph of few hops that one loss does not tear."""
    between_hubs_most: int = 8
    others: int = 10
    """Sites, newcomers aside, whose links one step changes at most."""

    @property
    def mesh_again(self) -> int:
        """A network with hubs turns into a mesh again only at so few: a site that comes and goes rewires nothing."""
        return self.mesh_sites * 4 // 5


class Draft:
    """Wanted pairs of sites with their reasons. Mutable, and local to one plan.

    `room` is how many links each site's nodes carry to other sites, `existing` the pairs that are linked now and why, `proven` those of
    them that work. `spokes` is how many sites a hub serves: what it carries, less its links to hubs and near sites.
    """

    def __init__(
        self,
        sites: Mapping[str, Site],
        room: Mapping[str, int],
        existing: Mapping[Pair, Reason],
        proven: Collection[Pair],
        rtt: Rtt,
        rules: Rules,
    ) -> None:
        self.sites, self.rules = sites, rules
        self.room = dict(room)
        self.size = dict(room)
        self.between_hubs_most = {name: max(2, min(rules.between_hubs_most, size // 4)) for name, size in room.items()}
        self.near_most = {name: min(rules.near_most, size // 4) for name, size in room.items()}
        self.spokes = {n: size - self.between_hubs_most[n] - self.near_most[n] for n, size in room.items()}
        self.existing, self.proven = dict(existing), frozenset(proven)
        self.linked = {name for ends in existing for name in ends}
        self.reasons: dict[Pair, Reason] = {}
        self.graph: dict[str, set[str]] = {name: set() for name in sites}
        self.hubs: set[str] = set()
        self.measured = {ends: value for ends, value in merged(rtt).items() if ends[0] in sites and ends[1] in sites}
        self.near: Mapping[str, Mapping[str, float]] = _estimates(sites, self.measured)

    def can(self, one: str, other: str) -> bool:
        """A link between the two is possible, has room and is not wanted yet."""
        return (
            one != other
            and other not in self.graph[one]
            and self.room[one] > 0
            and self.room[other] > 0
            and (linkable(self.sites[one], self.sites[other]) or pair(one, other) in self.proven)
        )

    def add(self, one: str, other: str, reason: Reason) -> None:
        self.reasons[pair(one, other)] = reason
        self.graph[one].add(other)
        self.graph[other].add(one)
        self.room[one] -= 1
        self.room[other] -= 1

    def drop(self, one: str, other: str) -> None:
        del self.reasons[pair(one, other)]
        self.graph[one].remove(other)
        self.graph[other].remove(one)
        self.room[one] += 1
        self.room[other] += 1

    def rtt(self, one: str, other: str) -> float:
        """Measured, or estimated over a common neighbour; `UNKNOWN` where neither is to be had."""
        known = self.measured.get(pair(one, other))
        if known is not None:
            return known
        return min(self.near[one].get(other, UNKNOWN), self.near[other].get(one, UNKNOWN))

    def kept(self, pairs: Iterable[Pair], reason: Reason) -> list[Pair]:
        """In the order in which existing links are worth keeping: those that were for this reason, then the shortest."""
        return sorted(pairs, key=lambda ends: (self.existing[ends] != reason, self.rtt(*ends), lot(*ends), ends))

    def can_be_hub(self, name: str) -> bool:
        return self.sites[name].willing and reachable(self.sites[name]) and self.spokes[name] >= 2


def _estimates(sites: Iterable[str], measured: Mapping[Pair, float]) -> dict[str, dict[str, float]]:
    """By site, what others are near: measured, or over a neighbour of both (a detour is never shorter than the way it replaces,
    as far as the internet keeps the triangle inequality)."""
    closest: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for (one, other), value in measured.items():
        closest[one].append((value, other))
        closest[other].append((value, one))
    closest = {name: heapq.nsmallest(CLOSEST, values) for name, values in closest.items()}
    return {name: _around(name, closest) if name in closest else {} for name in sites}


def _around(name: str, closest: Mapping[str, list[tuple[float, str]]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for first, middle in closest[name]:
        for second, far in closest[middle]:
            if far != name and first + second < found.get(far, UNKNOWN):
                found[far] = first + second
    return found | {other: value for value, other in closest[name]}
