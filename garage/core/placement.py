"""Placement: which node takes a machine, and what to say when none can."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from garage.core.types import Demand, NodeFacts
from garage.errors import N_, GarageError


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

    @property
    def free_memory_mib(self) -> int:
        """What is not promised, and not in use by anything else on the server either."""
        unpromised = self.facts.memory_mib - self.used.memory_mib
        available = self.facts.memory_available_mib
        return max(0, (unpromised if available is None else min(unpromised, available)) - self.ram_reserve_mib)

    @property
    def free_vcpus(self) -> int:
        return max(0, int(self.facts.vcpus * self.vcpu_overcommit) - self.used.vcpus)

    @property
    def disk_blocked(self) -> bool:
        """Free space is below the reserve."""
        return self.facts.disk_free_gib < self.disk_reserve_gib

    @property
    def free_disk_gib(self) -> int:
        """That may still be promised: overlays begin small and seldom grow to their size, so more than there is, within bounds."""
        most = self.disk_overcommit * (self.facts.disk_total_gib - self.disk_reserve_gib)
        return max(0, int(most) - self.used.disk_gib)


def shortfall(room: Room, demand: Demand) -> str | None:
    """The first thing that `room` lacks: "disk", "promised" (disk, too), "memory", "vcpus", or None when the machine fits."""
    if room.disk_blocked:
        return "disk"
    if demand.disk_gib > room.free_disk_gib:
        return "promised"
    if demand.memory_mib > room.free_memory_mib:
        return "memory"
    if demand.vcpus > room.free_vcpus:
        return "vcpus"
    return None


def place(rooms: Sequence[Room], demand: Demand, *, stoppable: Sequence[str] = ()) -> Room:
    """The node with most free RAM among those that fit; raises `no_capacity` or `disk_full` with what is free and what may be stopped."""
    fitting = [room for room in rooms if shortfall(room, demand) is None]
    if fitting:
        return max(fitting, key=lambda room: (room.free_memory_mib, room.name))
    if not rooms:
        raise GarageError(
            "unavailable",
            N_("no server takes machines yet"),
            hint=N_("look at “garage status”: the worker may still be starting"),
        )
    best = max(rooms, key=lambda room: room.free_memory_mib)
    raise _refusal(best, demand, stoppable)


def _refusal(room: Room, demand: Demand, stoppable: Sequence[str]) -> GarageError:
    if shortfall(room, demand) == "disk":
        return GarageError(
            "disk_full",
            N_("{node} has {free} GiB of disk left; {reserve} GiB stay free for the machines that run"),
            hint=N_("delete machines or images that nobody needs"),
            node=room.name,
            free=round(room.facts.disk_free_gib, 1),
            reserve=round(room.disk_reserve_gib, 1),
        )
    if shortfall(room, demand) == "promised":
        return GarageError(
            "disk_full",
            N_(
                "machines on {node} may grow to {promised} GiB; {free} GiB more can be promised, and this size needs {disk}"
            ),
            hint=N_("take a smaller size, or delete machines that nobody needs"),
            node=room.name,
            promised=room.used.disk_gib,
            free=room.free_disk_gib,
            disk=demand.disk_gib,
        )
    names = ", ".join(stoppable[:3])
    return GarageError(
        "no_capacity",
        N_("{node} has {free_memory} MiB of RAM and {free_vcpus} vCPUs free; this size needs {memory} MiB and {vcpus}"),
        hint=N_("take a smaller size, or stop what you do not use: {stoppable}")
        if names
        else N_("take a smaller size, or ask others to stop what they do not use"),
        node=room.name,
        free_memory=room.free_memory_mib,
        free_vcpus=room.free_vcpus,
        memory=demand.memory_mib,
        vcpus=demand.vcpus,
        stoppable=names,
    )
