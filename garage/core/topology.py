"""Which nodes are linked: a full mesh of few sites; of many, two hubs each and the nearest few. In steps that break nothing.

`plan` compares what is wanted in the end with what exists and returns the next step. Its caller does the step, and asks again when
links came up or sites changed, until the plan is `settled`. A plan depends on nothing but its arguments, and not on their order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from garage.core.topology_draft import Draft, Rules
from garage.core.topology_graph import Parts
from garage.core.topology_target import target
from garage.core.topology_types import (
    LIMIT,
    LIMIT_KERNEL,
    End,
    Node,
    Pair,
    Reason,
    Rtt,
    Site,
    Way,
    Wire,
    by_name,
    linkable,
    lot,
    reachable,
    wire,
)

__all__ = [
    "LIMIT",
    "LIMIT_KERNEL",
    "End",
    "Node",
    "Plan",
    "Reason",
    "Rules",
    "Site",
    "Way",
    "Wire",
    "linkable",
    "plan",
    "reachable",
    "wire",
]

RANK: Mapping[Reason, int] = {"site": 0, "hub-hub": 1, "hub": 2, "mesh": 3, "near": 4}
"""What is linked first, and given up last."""
Ends = tuple[End, End]


@dataclass(frozen=True, slots=True)
class Plan:
    """One step. `links` is what exists after it, sorted: the argument of the next plan (with `up` as it then is). The reason of a link
    that stays may have changed; it is to be stored, too."""

    links: tuple[Wire, ...]
    add: tuple[Wire, ...]
    remove: tuple[Wire, ...]
    """Now: their site is gone, they do not work, or what replaces them does."""
    surplus: tuple[Wire, ...]
    """Not wanted, but kept until their replacements are up or a later step may touch their sites."""
    missing: int
    """Wanted links that a later step adds, or that no node has room for yet."""
    hubs: frozenset[str]
    """To be stored: `Site.hub` of the next plan."""

    @property
    def settled(self) -> bool:
        """Nothing to do, now or later."""
        return not (self.add or self.remove or self.surplus or self.missing)


def plan(sites: Iterable[Site], links: Iterable[Wire], rtt: Rtt | None = None, rules: Rules | None = None) -> Plan:
    """The next step from `links`. Wanted in the end are links that keep every node within its limit, connect all that can be
    connected, and leave no site on which others hang, where that is possible.

    A step changes the links of at most `rules.others` sites that are on the network already; only links of nodes that are gone
    always go at once. A link is removed when its ends stay connected without it, by wanted links that are up. Sites that are
    not `linkable` are never linked; a link that works is kept, whatever is believed of its ends.
    """
    step = _Step(by_name(sites), links, rtt or {}, rules or Rules())
    step.add_missing()
    step.remove_surplus()
    return step.result()


class _Step:
    """The state of one `plan`."""

    def __init__(self, sites: Mapping[str, Site], links: Iterable[Wire], rtt: Rtt, rules: Rules) -> None:
        self.rules, self.sites = rules, sites
        self.limit = {End(site.name, node.name): node.limit for site in sites.values() for node in site.nodes}
        present = _distinct(links)
        self.alive = [link for link in present if self._has_ends(link)]
        self.removed = [link for link in present if not self._has_ends(link)]
        self.inner = _inner(sites)
        kept = _kept(self.alive, self.inner, self.limit)
        self.draft = _target(sites, self.alive, kept, self.inner, self.limit, rtt, rules)
        self.wanted = self._relabelled(kept)
        wanted = {link.ends for link in self.wanted}
        self.surplus = [link for link in self.alive if link.ends not in wanted]
        self.missing_inner = sorted(self.inner - wanted)
        self.missing_outer = self._missing_outer()
        waiting = [*(link.ends for link in self.alive), *self.missing_inner]
        self.load = Counter(end for ends in waiting for end in ends)
        self.known = {end.site for link in present for end in link.ends} & sites.keys()
        self.touched = {end.site for link in self.removed for end in link.ends} & sites.keys()
        self.added: list[Wire] = []

    def _has_ends(self, link: Wire) -> bool:
        return link.a in self.limit and link.b in self.limit and link.a != link.b

    def _relabelled(self, kept: Mapping[Pair, Wire]) -> list[Wire]:
        """Existing links that are wanted, with today's reason."""
        inner = [Wire(*link.ends, "site", link.up) for link in self.alive if link.ends in self.inner]
        reasons = self.draft.reasons
        return inner + [Wire(*link.ends, reasons[ends], link.up) for ends, link in kept.items() if ends in reasons]

    def _missing_outer(self) -> list[Pair]:
        """What is wanted between sites and not there, the most important first, and first for those that have least."""
        there = {link.sites for link in self.wanted}
        degree = Counter(name for ends in there for name in ends)
        return sorted(
            self.draft.reasons.keys() - there,
            key=lambda ends: (RANK[self.draft.reasons[ends]], min(degree[name] for name in ends), ends),
        )

    def add_missing(self) -> None:
        """Those inside a site first; the load counts them already, so that nothing else takes their room."""
        fits = [ends for ends in self.missing_inner if self._room(ends, 0) and self._touch({ends[0].site})]
        self.missing_inner = [ends for ends in self.missing_inner if ends not in fits]
        self.added = [Wire(*ends, "site", up=False) for ends in fits]
        self.missing_outer = [ends for ends in self.missing_outer if not self._add_outer(ends)]

    def _add_outer(self, ends: Pair) -> bool:
        found = self._nodes(ends)
        if not self._room(found, 1) or not self._touch(ends):
            return False
        self.added.append(wire(*found, self.draft.reasons[ends], up=False))
        self.load.update(found)
        return True

    def _nodes(self, ends: Pair) -> Ends:
        """Of each site the node with most room."""
        nodes = [[End(name, node.name) for node in self.sites[name].nodes] for name in ends]
        one, other = (min(ends, key=lambda end: (self.load[end] - self.limit[end], end)) for ends in nodes)
        return one, other

    def _room(self, ends: Ends, more: int) -> bool:
        return all(self.load[end] + more <= self.limit[end] for end in ends)

    def _touch(self, names: Collection[str]) -> bool:
        """Count these sites among those that the step changes; False when they would be too many."""
        others = {name for name in names if name in self.known} - self.touched
        if others and len(self.touched | others) > self.rules.others:
            return False
        self.touched |= others
        return True

    def remove_surplus(self) -> None:
        working = [link for link in self.wanted if link.up]
        together = Parts(self.sites)
        for link in working:
            together.join(link.a.site, link.b.site)
        up = Counter(name for link in working for name in link.sites)
        for link in sorted(self.surplus, key=lambda link: (-RANK[link.reason], link.ends)):
            if (not link.up or self._replaced(link, together, up)) and self._touch(link.sites):
                self._remove(link)
        if not self.added and not self.removed and (blocked := self._blocking()):
            self._remove(blocked)

    def _replaced(self, link: Wire, together: Parts, up: Mapping[str, int]) -> bool:
        """Both ends hang together without it, each on two links where it is to have as many."""
        return together.of(link.a.site) == together.of(link.b.site) and all(
            link.a.site == link.b.site or up[name] >= min(2, len(self.draft.graph[name])) for name in link.sites
        )

    def _blocking(self) -> Wire | None:
        """Where a node is so full that its new links find no room, one link has to go first: one whose ends have another that is up,
        else one whose ends wait for nothing. When all is there that is wanted, what is left over has nothing to wait for."""
        short = {end.site for ends in self.missing_inner for end in ends}
        short = short.union(*self.missing_outer) or self.known
        up = Counter(name for link in self.alive if link.up for name in link.sites)
        waiting = {name for link in self.wanted if not link.up for name in link.sites}
        found = [link for link in self.surplus if not short.isdisjoint(link.sites)]
        safe = [link for link in found if all(up[name] > 1 for name in link.sites)]
        return min(safe or [link for link in found if waiting.isdisjoint(link.sites)], default=None)

    def _remove(self, link: Wire) -> None:
        self.surplus.remove(link)
        self.removed.append(link)

    def result(self) -> Plan:
        return Plan(
            links=tuple(sorted([*self.wanted, *self.surplus, *self.added])),
            add=tuple(sorted(self.added)),
            remove=tuple(sorted(self.removed)),
            surplus=tuple(sorted(self.surplus)),
            missing=len(self.missing_inner) + len(self.missing_outer),
            hubs=frozenset(self.draft.hubs),
        )


def _distinct(links: Iterable[Wire]) -> list[Wire]:
    """One of each pair of nodes, in order; of two the one that is up."""
    found: dict[Ends, Wire] = {}
    for link in sorted(
        (wire(*link.ends, link.reason, up=link.up) for link in links), key=lambda link: (link.ends, link.up)
    ):
        found[link.ends] = link
    return list(found.values())


def _inner(sites: Mapping[str, Site]) -> set[Ends]:
    """Wires between a site's nodes: a ring, then ever longer chords, while half of each node's limit is not used up. Up to 25 nodes
    of the default limit that is a full mesh, as iBGP wants it."""
    found: set[Ends] = set()
    for site in sites.values():
        ends = sorted(End(site.name, node.name) for node in site.nodes)
        free = {End(site.name, node.name): max(1, node.limit // 2) for node in site.nodes}
        for distance in range(1, len(ends) // 2 + 1):
            for place, one in enumerate(ends):
                other = ends[(place + distance) % len(ends)]
                both = (min(one, other), max(one, other))
                if both not in found and free[one] > 0 and free[other] > 0:
                    found.add(both)
                    free[one] -= 1
                    free[other] -= 1
    return found


def _kept(alive: Iterable[Wire], inner: Collection[Ends], limit: Mapping[End, int]) -> dict[Pair, Wire]:
    """The existing link of each pair of sites that the nodes' limits allow, the most important first."""
    load = Counter(end for ends in inner for end in ends)
    found: dict[Pair, Wire] = {}
    for link in sorted(alive, key=lambda link: (not link.up, RANK[link.reason], lot(*link.sites), link.ends)):
        outer = link.a.site != link.b.site and link.sites not in found
        if outer and all(load[end] < limit[end] for end in link.ends):
            found[link.sites] = link
            load.update(link.ends)
    return found


def _target(
    sites: Mapping[str, Site],
    alive: Collection[Wire],
    kept: Mapping[Pair, Wire],
    inner: Collection[Ends],
    limit: Mapping[End, int],
    rtt: Rtt,
    rules: Rules,
) -> Draft:
    """What is wanted between sites; a link that is up is possible, whatever is believed of its ends."""
    used = Counter(end for ends in inner for end in ends)
    room = Counter(dict.fromkeys(sites, 0))
    for end, most in limit.items():
        room[end.site] += max(0, most - used[end])
    outer = {link.reason for link in alive if link.a.site != link.b.site}
    proven = {ends for ends, link in kept.items() if link.up}
    draft = Draft(sites, room, {ends: link.reason for ends, link in kept.items()}, proven, rtt, rules)
    return target(draft, was_mesh="mesh" in outer or not outer)
