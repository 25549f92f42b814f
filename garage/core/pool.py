"""Pools: how many machines of which image and size should wait on a node, booted and paused. Pure: time and demand are arguments.

Demand is taken to be a Poisson process whose rate depends on the time of the week: requests of the last weeks at about the same hour of the
same weekday (a triangular kernel), smoothed with the mean of all times. A pool holds what is asked for while one machine is made anew
(`REFILL`), with the certainty `CERTAINTY`; so a pool of a size that nobody asks for is empty, and one that is asked for all day is full.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist

HOUR, DAY, WEEK = 3600.0, 86_400.0, 604_800.0
WEEKS = 4
"""How far back demand is looked at."""
REFILL = 600.0
"""Seconds for which a pool should last: requests come in bursts, and a server with two cores makes one machine in half a minute."""
CERTAINTY = 0.9
"""Probability that a request of the next `REFILL` seconds finds a machine."""
LARGEST = 20
"""Machines in one pool."""
FEW = 100.0
"""Mean of a Poisson distribution above which it is taken for a normal one (they differ by less than one machine)."""
WINDOW = HOUR
"""Half the width of the triangle by which requests at about this time of the week are weighted."""
OF_THE_TIME = 0.7
"""Weight of this time of the week; the rest is that of the mean of all times."""


class Cold(StrEnum):
    """Why a machine booted cold instead of coming out of a pool."""

    OFF = "off"
    """Pools are off, or it was made before there were any."""
    EMPTY = "empty"
    """None of its kind waited."""
    USER_DATA = "user_data"
    """Some of its user-data has to be there from the first boot on (`core.late`)."""
    IMAGE = "image"
    """Machines of its image cannot be booted in advance."""
    FAILED = "pool_failed"
    """One was taken and did not answer in time."""


@dataclass(frozen=True, slots=True, order=True)
class Kind:
    """What a pool machine is: a request is served by one of exactly its kind."""

    image: str
    """sha256."""
    size: str


@dataclass(frozen=True, slots=True)
class Share:
    """This is the `number`-th (from 0) of `of` nodes that divide demand."""

    number: int
    of: int

    def part(self, goal: int, kind: Kind) -> int:
        """Of `goal` machines over all nodes. The parts add up to it; who has one more than others differs by kind."""
        turn = (self.number + int(kind.image[:8] or "0", 16) + sum(kind.size.encode())) % self.of
        return goal // self.of + (turn < goal % self.of)


@dataclass(frozen=True, slots=True)
class Want:
    """A kind with what one of it takes (MiB, GiB), how often it is asked for over all nodes (per second), and an admin's figure for each
    node, if any."""

    kind: Kind
    memory_mib: int
    disk_gib: int
    rate: float = 0.0
    fixed: int | None = None
    least: int = 0
    """Over all nodes also without any demand; the budget permitting."""


def targets(wants: Iterable[Want], share: Share, *, memory_mib: int, disk_gib: int) -> dict[Kind, int]:
    """How many of each kind should wait on a node with this share, within its budget. What an admin has fixed comes first, then one of
    each kind that is wanted, then second ones and so on, so that a scarce budget serves many kinds once rather than one of them often."""
    wants = list(wants)
    found = dict.fromkeys((want.kind for want in wants), 0)
    for fixed in (True, False):
        group = [want for want in wants if (want.fixed is not None) is fixed]
        goals = {want.kind: _goal(want, share) for want in group}
        turns = sorted((want for want in group if goals[want.kind]), key=lambda want: (-goals[want.kind], want.kind))
        for round_ in range(1, max(goals.values(), default=0) + 1):
            for want in turns:
                if goals[want.kind] >= round_ and memory_mib >= want.memory_mib and disk_gib >= want.disk_gib:
                    found[want.kind] += 1
                    memory_mib, disk_gib = memory_mib - want.memory_mib, disk_gib - want.disk_gib
    return found


def _goal(want: Want, share: Share) -> int:
    if want.fixed is not None:
        return min(LARGEST, want.fixed)
    goal = max(want.least, quantile(want.rate * REFILL, CERTAINTY, LARGEST * share.of))
    return min(LARGEST, share.part(goal, want.kind))


def rate(asked: Sequence[float], now: float) -> float:
    """Requests a second that are to be expected now."""
    recent = [at for at in asked if 0 <= now - at < WEEKS * WEEK]
    if not recent:
        return 0.0
    weeks = max(1.0, min(float(WEEKS), math.ceil((now - min(recent)) / WEEK)))
    mean = len(recent) / (weeks * WEEK)
    near = sum(max(0.0, 1 - _apart(at, now) / WINDOW) for at in recent) / (weeks * WINDOW)
    return OF_THE_TIME * near + (1 - OF_THE_TIME) * mean


def _apart(at: float, now: float) -> float:
    """Seconds between two times of the week, around its end."""
    apart = (now - at) % WEEK
    return min(apart, WEEK - apart)


def quantile(mean: float, certainty: float, largest: int = LARGEST) -> int:
    """The least k with P(X <= k) >= certainty for X ~ Poisson(mean), at most `largest`."""
    if mean > FEW:  # a normal distribution by then, and exp(-mean) would be 0 for very many
        return min(largest, math.ceil(NormalDist(mean, math.sqrt(mean)).inv_cdf(certainty)))
    term = total = math.exp(-mean)
    k = 0
    while total < certainty and k < largest:
        k += 1
        term *= mean / k
        total += term
    return k


@dataclass(frozen=True, slots=True)
class Spare:
    """A pool machine as it is."""

    id: str
    kind: Kind
    made_at: float
    warm: bool


def surplus(spares: Sequence[Spare], wanted: Mapping[Kind, int], now: float, *, max_age: float) -> list[str]:
    """Ids of those to end: too old, of a kind that nobody wants any more, or more than wanted; those that still boot first."""
    found = [spare.id for spare in spares if now - spare.made_at >= max_age]
    for kind in {spare.kind for spare in spares}:
        here = [spare for spare in spares if spare.kind == kind and spare.id not in found]
        here.sort(key=lambda spare: (spare.warm, spare.made_at))
        found += [spare.id for spare in here[: max(0, len(here) - wanted.get(kind, 0))]]
    return found


def missing(spares: Sequence[Spare], wanted: Mapping[Kind, int], ending: Iterable[str]) -> list[Kind]:
    """One entry for each machine that is to be made, the kind with most missing first. One that is ended for its age is replaced."""
    gone = set(ending)
    have: dict[Kind, int] = {}
    for spare in spares:
        if spare.id not in gone:
            have[spare.kind] = have.get(spare.kind, 0) + 1
    short = {kind: count - have.get(kind, 0) for kind, count in wanted.items()}
    return [kind for kind in sorted(short, key=lambda kind: (-short[kind], kind)) for _ in range(short[kind])]
