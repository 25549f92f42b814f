"""What the links should be in the end: the backbone of hubs first, so that nothing else takes its room, then mesh or near links.

Existing links come first in every choice, so that a plan from its own result changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from itertools import combinations

from garage.core.topology_draft import Draft
from garage.core.topology_repair import repair
from garage.core.topology_types import linkable, lot, pair


def target(draft: Draft, *, was_mesh: bool) -> Draft:
    """The wanted pairs, put into `draft`. `was_mesh`: the network is a mesh so far, or new."""
    sites, rules = draft.sites, draft.rules
    small = len(sites) <= (rules.mesh_sites if was_mesh else rules.mesh_again)
    if not (small and _mesh_fits(draft)):
        _backbone(draft)
        repair(draft)
    if small:
        _mesh(draft)
    else:
        _near(draft)
    return draft


def _mesh_fits(draft: Draft) -> bool:
    """Every site carries a link to each that it can be linked to."""
    wanted: Counter[str] = Counter()
    for one, other in combinations(draft.sites.values(), 2):
        if linkable(one, other):
            wanted.update((one.name, other.name))
    return all(draft.room[name] >= count for name, count in wanted.items())


def _mesh(draft: Draft) -> None:
    """All that have room; what mended the backbone belongs to it."""
    draft.reasons |= {ends: "mesh" for ends, reason in draft.reasons.items() if reason == "near"}
    pairs = [pair(*ends) for ends in combinations(draft.sites, 2)]
    for ends in draft.kept(draft.existing, "mesh") + sorted(pairs, key=lambda ends: (lot(*ends), ends)):
        if draft.can(*ends):
            draft.add(*ends, "mesh")


def _backbone(draft: Draft) -> None:
    """Hubs until every other site has its two and two hubs have room for the next one."""
    draft.hubs = {name for name, site in draft.sites.items() if site.hub and draft.can_be_hub(name)}
    load: Counter[str] = Counter()
    while _too_few_hubs(draft) and _promote(draft, list(draft.sites), load):
        pass
    _keep_ways(draft, load)
    while True:
        _give_ways(draft, load)
        lacking = _lacking(draft)
        spare = sum(load[hub] < draft.spokes[hub] for hub in draft.hubs) >= draft.rules.hubs_per_site
        if (spare and not lacking) or not _promote(draft, lacking or list(draft.sites), load):
            break
    _between_hubs(draft)


def _too_few_hubs(draft: Draft) -> bool:
    """For all sites at once: those that lack one later are served one by one."""
    spokes = len(draft.sites) - len(draft.hubs)
    served = sum(draft.spokes[hub] for hub in draft.hubs)
    return len(draft.hubs) < draft.rules.hubs or served < draft.rules.hubs_per_site * spokes


def _lacking(draft: Draft) -> list[str]:
    """Sites that have fewer ways to hubs than they should."""
    wanted = draft.rules.hubs_per_site
    return [name for name in draft.sites if name not in draft.hubs and len(draft.graph[name]) < wanted]


def _promote(draft: Draft, lacking: Collection[str], load: Counter[str]) -> bool:
    """Make the site a hub that serves most of those that lack one; False when nobody can."""
    demand = Counter((draft.sites[name].ipv4, draft.sites[name].ipv6) for name in lacking)
    example = {(site.ipv4, site.ipv6): site for site in draft.sites.values()}
    useful = {
        ways: sum(n for other, n in demand.items() if linkable(site, example[other])) for ways, site in example.items()
    }
    best = min(
        (name for name in draft.sites if name not in draft.hubs and draft.can_be_hub(name)),
        key=lambda name: (-useful[draft.sites[name].ipv4, draft.sites[name].ipv6], *_merit(draft, name)),
        default=None,
    )
    if best is None or not useful[draft.sites[best].ipv4, draft.sites[best].ipv6]:
        return False
    draft.hubs.add(best)
    for hub in sorted(draft.graph[best]):
        draft.drop(best, hub)
        load[hub] -= 1
    return True


def _merit(draft: Draft, name: str) -> tuple[int, bool, int, str]:
    """The least is the best hub: carries most, is on the network already."""
    return -draft.size[name], name not in draft.linked, lot(name), name


def _keep_ways(draft: Draft, load: Counter[str]) -> None:
    ways = (ends for ends in draft.existing if (ends[0] in draft.hubs) != (ends[1] in draft.hubs))
    for ends in draft.kept(ways, "hub"):
        hub, site = ends if ends[0] in draft.hubs else ends[::-1]
        if (
            len(draft.graph[site]) < draft.rules.hubs_per_site
            and load[hub] < draft.spokes[hub]
            and draft.can(hub, site)
        ):
            draft.add(hub, site, "hub")
            load[hub] += 1


def _give_ways(draft: Draft, load: Counter[str]) -> None:
    """The nearest hub with room for each site that lacks one; those with none before those with one."""
    for have in range(draft.rules.hubs_per_site):
        for site in _lacking(draft):
            if len(draft.graph[site]) > have:
                continue
            hubs = (hub for hub in draft.hubs if load[hub] < draft.spokes[hub] and draft.can(hub, site))
            best = min(hubs, key=lambda hub: (draft.rtt(hub, site), load[hub], hub), default=None)
            if best is not None:
                draft.add(best, site, "hub")
                load[best] += 1


def _between_hubs(draft: Draft) -> None:
    """Each hub's first link goes to the nearest other one, the rest by lot: few hops between any two."""
    degree: Counter[str] = Counter()
    for ends in draft.kept((ends for ends in draft.existing if draft.hubs.issuperset(ends)), "hub-hub"):
        _join_hubs(draft, *ends, degree)
    for hub in sorted(draft.hubs):
        wanted = min(draft.rules.between_hubs, max(1, draft.between_hubs_most[hub] // 2))
        others = sorted(draft.hubs - {hub}, key=lambda other: (lot(*pair(hub, other)), other))
        nearest = min(others, key=lambda other: draft.rtt(hub, other), default=hub)
        for other in (nearest, *others):
            if degree[hub] < wanted:
                _join_hubs(draft, hub, other, degree)


def _join_hubs(draft: Draft, one: str, other: str, degree: Counter[str]) -> None:
    if draft.can(one, other) and all(degree[hub] < draft.between_hubs_most[hub] for hub in (one, other)):
        draft.add(one, other, "hub-hub")
        degree.update((one, other))


def _near(draft: Draft) -> None:
    """Existing links while both ends have room for near ones; then each site asks for the nearest, the shortest wish first.

    A site asks while it has fewer than `near` links that are at most twice as long: it takes up a much better one in spite of what it has,
    and nothing is dropped for it, so that no change sets off others.
    """
    lengths: dict[str, list[float]] = {name: [] for name in draft.sites}
    for ends in draft.kept(draft.existing, "near"):
        _link_near(draft, *ends, lengths)
    wishes = sorted((length, name, other) for name in draft.sites for other, length in draft.near[name].items())
    for length, name, other in wishes:
        if sum(have <= 2 * length for have in lengths[name]) < draft.rules.near:
            _link_near(draft, name, other, lengths)


def _link_near(draft: Draft, one: str, other: str, lengths: Mapping[str, list[float]]) -> None:
    if all(len(lengths[name]) < draft.near_most[name] for name in (one, other)) and draft.can(one, other):
        draft.add(one, other, "near")
        for name in (one, other):
            lengths[name].append(draft.rtt(one, other))
