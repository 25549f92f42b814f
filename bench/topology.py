"""`overlay.topology_1000`: planning the links of 1,000 sites, and what a join then changes."""

from __future__ import annotations

import random
import statistics
import time
from dataclasses import replace
from itertools import combinations

from bench.record import Figure, benchmark
from garage.core.topology import Node, Plan, Site, Way, plan

SITES, ROUNDS, JOINS, MEASURED = 1000, 5, 20, 12
WAYS: tuple[Way, ...] = ("open", "open", "open", "cone", "symmetric")


def simulated(count: int) -> tuple[list[Site], dict[tuple[str, str], float]]:
    """Sites on a map 50 ms wide, most of them reachable, each with the RTT of its nearest neighbours measured."""
    rng = random.Random(1)  # the same sites each time
    sites = [Site(f"s{i:04}", (Node("gateway"),), rng.choice(WAYS)) for i in range(count)]
    at = {site.name: complex(rng.uniform(0, 50), rng.uniform(0, 50)) for site in sites}
    near: dict[str, list[tuple[float, str]]] = {name: [] for name in at}
    for one, other in combinations(at, 2):
        length = 1 + abs(at[one] - at[other])
        near[one].append((length, other))
        near[other].append((length, one))
    return sites, {(name, other): ms for name in near for ms, other in sorted(near[name])[:MEASURED]}


def settled(sites: list[Site], done: Plan) -> list[Site]:
    return [replace(site, hub=site.name in done.hubs) for site in sites]


@benchmark("overlay.topology_1000")
def topology() -> Figure:
    """Value: the first plan of all, which decides on every link; a plan after a join is in the note."""
    everyone, rtt = simulated(SITES + JOINS)
    sites, whole = everyone[:SITES], []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        done = plan(sites, [], rtt)
        whole.append(time.perf_counter() - started)
    joins, others = [], []
    for newcomer in everyone[SITES:]:
        before = {link.ends for link in done.links}
        sites = [*settled(sites, done), newcomer]
        started = time.perf_counter()
        done = plan(sites, [replace(link, up=True) for link in done.links], rtt)
        joins.append(time.perf_counter() - started)
        changed = before ^ {link.ends for link in done.links}
        others.append(len({end.site for ends in changed for end in ends} - {newcomer.name}))
    note = (
        f"{len(done.links)} links, {len(done.hubs)} hubs; a join after that {statistics.median(joins):.3f} s, "
        f"links of {max(others)} others changed at most in {JOINS} joins"
    )
    return Figure("overlay.topology_1000", statistics.median(whole), "s", ROUNDS, note)
