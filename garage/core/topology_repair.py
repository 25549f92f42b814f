"""Where the rules leave the network in parts, or hanging on one site, links that mend it, as far as there is room."""

from __future__ import annotations

from collections import defaultdict

from garage.core.topology_draft import Draft
from garage.core.topology_graph import Parts, components, cut_vertices
from garage.core.topology_types import Reason, lot

Ways = tuple[str, str]


def repair(draft: Draft) -> None:
    """One part first, then no site whose loss tears it; until nothing more can be done."""
    _join(draft, components(draft.graph))
    while sum(_bridge(draft, cut) for cut in cut_vertices(draft.graph)):
        pass


def _bridge(draft: Draft, cut: str) -> bool:
    """Join the parts that only `cut` holds together; whether anything was added."""
    around = draft.graph[cut]
    parts = [part for part in components(draft.graph, cut) if not around.isdisjoint(part)]
    return _join(draft, parts)


def _join(draft: Draft, parts: list[list[str]]) -> bool:
    before = len(draft.reasons)
    groups = _join_existing(draft, parts)
    groups.sort(key=lambda group: (-len(group), group))
    while len(groups) > 1:
        groups = _join_to_first(draft, groups)
    return len(draft.reasons) > before


def _join_existing(draft: Draft, parts: list[list[str]]) -> list[list[str]]:
    """With links that are there already; returns the parts as they hang together then."""
    of = {name: part[0] for part in parts for name in part}
    together = Parts(of.values())
    for one, other in draft.kept((ends for ends in draft.existing if ends[0] in of and ends[1] in of), "hub"):
        if together.of(of[one]) != together.of(of[other]) and draft.can(one, other):
            _add(draft, one, other)
            together.join(of[one], of[other])
    groups: dict[str, list[str]] = defaultdict(list)
    for part in parts:
        groups[together.of(part[0])] += part
    return list(groups.values())


def _join_to_first(draft: Draft, groups: list[list[str]]) -> list[list[str]]:
    """Link groups to the first as long as one can be; returns those that could not."""
    main, rest = list(groups[0]), groups[1:]
    while True:
        pool, left = _pool(draft, main), []
        for group in rest:
            if _link(draft, group, pool):
                main += group
                _extend(pool, _pool(draft, group))
            else:
                left.append(group)
        if not left or len(left) == len(rest):
            return left
        rest = left


def _pool(draft: Draft, names: list[str]) -> dict[Ways, list[str]]:
    """Sites by how they can be reached: whether a link can be had depends on nothing else."""
    pool: dict[Ways, list[str]] = defaultdict(list)
    for name in names:
        pool[draft.sites[name].ipv4, draft.sites[name].ipv6].append(name)
    return pool


def _extend(pool: dict[Ways, list[str]], more: dict[Ways, list[str]]) -> None:
    for ways, names in more.items():
        pool[ways] += names


def _link(draft: Draft, group: list[str], pool: dict[Ways, list[str]]) -> bool:
    """A link from the group's best placed site to the pool's."""

    def rank(name: str) -> tuple[bool, int, int, str]:
        return name not in draft.hubs, -draft.room[name], lot(name), name

    for one in sorted((name for name in group if draft.room[name] > 0), key=rank):
        others = [min((n for n in names if draft.room[n] > 0), key=rank, default=one) for names in pool.values()]
        for other in sorted(others, key=rank):
            if draft.can(one, other):
                _add(draft, one, other)
                return True
    return False


def _add(draft: Draft, one: str, other: str) -> None:
    reasons: tuple[Reason, Reason, Reason] = ("near", "hub", "hub-hub")
    draft.add(one, other, reasons[(one in draft.hubs) + (other in draft.hubs)])
