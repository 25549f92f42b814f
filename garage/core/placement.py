"""Placement: which node takes a machine, and why each of the others does not. Pure.

A node fits or lacks something (`LACKS`). Among those that fit the highest score wins: a share of RAM between 0 and 1 by the garage's
policy, and what makes the start quicker on top of it. The parts are kept with the machine, so that `explain` can show them.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from garage.core.types import Demand, NodeFacts

Policy = Literal["spread", "pack"]
"""Prefer the node whose RAM is freest afterwards (spread), or fullest (pack: large machines find room for longer)."""
POLICIES: tuple[str, ...] = get_args(Policy)
POOL, IMAGE = 2.0, 0.25
"""A machine that has booted already outweighs everything. An image that is there saves a copy of some hundred MB, once: it outweighs
a quarter of a node's RAM, so that a node that is new gets machines before all others are full."""


@dataclass(frozen=True, slots=True)
class Room:
    """A node with what its machines hold of it already (running machines for RAM and vCPU, all for disk)."""

    name: str
    facts: NodeFacts
    used: Demand
    ram_reserve_mib: int
    disk_reserve_gib: float
    vcpu_overcommit: float
    disk_overcommit: float
    known: bool = True
    """False: its worker has not looked yet, and `facts` are zeros."""
    state: str = "active"
    silent: bool = False
    away: bool = False
    """Its hypervisor does not answer."""
    labels: Mapping[str, str] = field(default_factory=dict)
    image: bool = False
    """It has what the machine is to boot."""
    warm: int = 0
    """Machines of exactly this image and size that wait, booted; their disk is part of `used`."""
    kept_apart: bool = False
    """It has a machine of the same project with the same word."""

    @property
    def free_memory_mib(self) -> int:
        """What is not promised, and not in use by anything else on the server either."""
        unpromised = self.facts.memory_mib - self.used.memory_mib
        available = self.facts.memory_available_mib
        return max(0, (unpromised if available is None else min(unpromised, available)) - self.ram_reserve_mib)

    @property
    def most(self) -> Demand:
        """What may be promised to machines in all: vCPUs and disk as often as overcommit says, memory without the reserve."""
        disk = self.disk_overcommit * (self.facts.disk_total_gib - self.disk_reserve_gib)
        memory = max(0, self.facts.memory_mib - self.ram_reserve_mib)
        return Demand(int(self.facts.vcpus * self.vcpu_overcommit), memory, max(0, int(disk)))

    @property
    def free_vcpus(self) -> int:
        return max(0, self.most.vcpus - self.used.vcpus)

    @property
    def disk_blocked(self) -> bool:
        """Free space is below the reserve."""
        return self.facts.disk_free_gib < self.disk_reserve_gib

    @property
    def free_disk_gib(self) -> int:
        """That may still be promised: overlays begin small and seldom grow to their size, so more than there is, within bounds."""
        return max(0, self.most.disk_gib - self.used.disk_gib)


@dataclass(frozen=True, slots=True)
class Ask:
    """What a machine needs of its node."""

    demand: Demand
    labels: Mapping[str, str] = field(default_factory=dict)
    apart: str = ""
    """Not beside another machine of its project with this word."""


@dataclass(frozen=True, slots=True)
class Lack:
    """One reason why a node does not take a machine: how much of `what` is needed, and how much there is."""

    what: str
    needed: str | float = ""
    found: str | float = ""


LACKS: tuple[str, ...] = (
    *("state", "silent", "away", "unknown"),  # of the node itself
    *("labels", "apart"),  # of the request
    *("disk", "promised", "memory", "vcpus"),
)
"""What a node may lack, in the order in which it is told. "disk" is free space below the reserve (GiB), "promised" disk that overlays
may grow to (GiB)."""
OF_NODE = frozenset(LACKS[:4])


@dataclass(frozen=True, slots=True)
class Verdict:
    """What placement thinks of one node: it fits, with a score, or it lacks something."""

    node: str
    lacks: tuple[Lack, ...]
    parts: tuple[tuple[str, float], ...] = ()
    """The score's summands: "pool", "image", and the policy's name."""

    @property
    def fits(self) -> bool:
        return not self.lacks

    @property
    def score(self) -> float:
        return sum(value for _, value in self.parts)


@dataclass(frozen=True, slots=True)
class Decision:
    """Where one machine goes."""

    chosen: Verdict
    room: Room
    """As it was before."""
    second: Verdict | None
    """Where it would have gone otherwise."""


def shortfall(room: Room, demand: Demand) -> str | None:
    """The first resource that `room` lacks: "disk", "promised" (disk, too), "memory", "vcpus", or None when the machine fits."""
    return next((lack.what for lack in _resources(room, demand)), None)


def judge(room: Room, ask: Ask, policy: str) -> Verdict:
    """Whether the node fits, and everything that it lacks."""
    lacks = (*_node(room), *_request(room, ask), *_resources(room, ask.demand))
    return Verdict(room.name, lacks, () if lacks else _parts(room, ask.demand, policy))


def place(rooms: Sequence[Room], ask: Ask, policy: str, count: int = 1) -> list[Decision]:
    """Where `count` equal machines go, one after the other; fewer when there is no room for more. Of equal nodes the first by name."""
    heap = [_ranked(judge(room, ask, policy), room) for room in rooms]
    heap = [entry for entry in heap if entry[2].fits]
    heapq.heapify(heap)
    found: list[Decision] = []
    while heap and len(found) < count:
        _, _, chosen, room = heapq.heappop(heap)
        found.append(Decision(chosen, room, heap[0][2] if heap else None))
        taken = with_machine(room, ask)
        if (verdict := judge(taken, ask, policy)).fits:
            heapq.heappush(heap, _ranked(verdict, taken))
    return found


def _ranked(verdict: Verdict, room: Room) -> tuple[float, str, Verdict, Room]:
    return -verdict.score, verdict.node, verdict, room


def with_machine(room: Room, ask: Ask) -> Room:
    """The room when the machine is there; one that waited gives its disk, too."""
    demand, used = _needed(room, ask.demand), room.used
    used = Demand(used.vcpus + demand.vcpus, used.memory_mib + demand.memory_mib, used.disk_gib + demand.disk_gib)
    return replace(room, used=used, warm=max(0, room.warm - 1), kept_apart=room.kept_apart or bool(ask.apart))


def _needed(room: Room, demand: Demand) -> Demand:
    return replace(demand, disk_gib=0) if room.warm else demand


def _node(room: Room) -> list[Lack]:
    found = []
    if room.state != "active":
        found.append(Lack("state", "active", room.state))
    if room.silent:
        found.append(Lack("silent"))
    if room.away:
        found.append(Lack("away"))
    if not room.known:
        found.append(Lack("unknown"))
    return found


def _request(room: Room, ask: Ask) -> list[Lack]:
    missing = {key: value for key, value in ask.labels.items() if room.labels.get(key) != value}
    has = {key: room.labels[key] for key in missing if key in room.labels}
    found = [Lack("labels", words(missing), words(has))] if missing else []
    return [*found, Lack("apart", ask.apart)] if ask.apart and room.kept_apart else found


def words(labels: Mapping[str, str]) -> str:
    """Labels as people type them: "gpu=rtx3090, room=lab2"."""
    return ", ".join(f"{key}={value}" for key, value in sorted(labels.items()))


def _resources(room: Room, demand: Demand) -> list[Lack]:
    if not room.known:
        return []
    demand = _needed(room, demand)
    found = []
    if room.disk_blocked:
        found.append(Lack("disk", round(room.disk_reserve_gib, 1), round(room.facts.disk_free_gib, 1)))
    for what, needed, free in (
        ("promised", demand.disk_gib, room.free_disk_gib),
        ("memory", demand.memory_mib, room.free_memory_mib),
        ("vcpus", demand.vcpus, room.free_vcpus),
    ):
        if needed > free:
            found.append(Lack(what, needed, free))
    return found


def _parts(room: Room, demand: Demand, policy: str) -> tuple[tuple[str, float], ...]:
    """`services.placing` orders nodes in the database by the same formula."""
    free = float(room.free_memory_mib - demand.memory_mib) / max(1, room.facts.memory_mib)
    parts = [("pool", POOL)] if room.warm else []
    parts += [("image", IMAGE)] if room.image else []
    return (*parts, (policy, 1.0 - free if policy == "pack" else free))
