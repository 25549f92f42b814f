"""Who asks for machines, for simulations: drawn from a seed. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from garage.core.placement import Room
from garage.core.types import Demand

MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Load:
    """Requests come at random (a Poisson process) and machines live at random (exponentially), so that `machines` exist on average."""

    machines: int
    minutes: float
    lifetime_minutes: float = 240.0
    sizes: Sequence[tuple[str, float]] = (("tiny", 0.4), ("small", 0.35), ("medium", 0.2), ("large", 0.05))
    """With how often each is asked for, in parts of all."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """`at` and `lasts` in seconds from the beginning."""

    at: float
    size: str
    lasts: float


def at_first(load: Load, rng: random.Random) -> list[Arrival]:
    """Machines that exist already in the beginning."""
    return [_drawn(load, rng, 0.0) for _ in range(load.machines)]


def later(load: Load, rng: random.Random) -> Iterator[Arrival]:
    """Requests during the time that is simulated, in their order."""
    rate, at = load.machines / (load.lifetime_minutes * MINUTE), 0.0
    while rate and (at := at + rng.expovariate(rate)) < load.minutes * MINUTE:
        yield _drawn(load, rng, at)


def _drawn(load: Load, rng: random.Random, at: float) -> Arrival:
    names, weights = zip(*load.sizes, strict=True)
    return Arrival(at, rng.choices(names, weights)[0], rng.expovariate(1 / (load.lifetime_minutes * MINUTE)))


@dataclass(frozen=True, slots=True)
class Sample:
    """A fleet at one moment, all between 0 and 1."""

    memory: float
    """Of the RAM that machines may have, how much they have."""
    vcpus: float
    disk: float
    fragmented: float
    """How much of the free RAM is in pieces too small for the size that was asked about."""
    used_nodes: float
    """How many nodes have a machine at all."""


def sample(rooms: Sequence[Room], largest: Demand) -> Sample:
    """What is used of `rooms`; `largest` is the size by which free RAM counts as whole."""
    memory = sum(room.facts.memory_mib - room.ram_reserve_mib for room in rooms)
    vcpus = sum(int(room.facts.vcpus * room.vcpu_overcommit) for room in rooms)
    used = [room.used for room in rooms]
    disk = sum(room.free_disk_gib for room in rooms) + sum(each.disk_gib for each in used)
    free = sum(room.free_memory_mib for room in rooms)
    whole = sum(room.free_memory_mib // largest.memory_mib * largest.memory_mib for room in rooms)
    return Sample(
        memory=sum(each.memory_mib for each in used) / max(1, memory),
        vcpus=sum(each.vcpus for each in used) / max(1, vcpus),
        disk=sum(each.disk_gib for each in used) / max(1, disk),
        fragmented=1 - whole / free if free else 0.0,
        used_nodes=sum(each.vcpus > 0 for each in used) / max(1, len(rooms)),
    )
