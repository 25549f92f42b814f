"""What a drain does with each machine of a node, before anything is done: shown to the admin, and followed by the worker.

Also a machine that is off is placed with its memory: while it moves its domain is started, paused, so that libvirt copies the disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from garage.core.placement import Ask, Room, place, with_machine
from garage.core.refusal import refusal
from garage.core.states import State
from garage.errors import N_, GarageError


class Way(StrEnum):
    """How a machine leaves."""

    LIVE = "live"
    """It runs on, and its guest notices a pause."""
    COLD = "cold"
    """It is off; its disk is copied."""
    ENDS = "ends"
    """It is a pool machine, nobody's, or being deleted."""
    WAITS = "waits"
    """It is between two states; it moves as soon as it is in one."""
    STAYS = "stays"
    """It cannot move now; `Passage.reason` says why."""


LIVE = frozenset({State.READY, State.SUSPENDED})
COLD = frozenset({State.STOPPED, State.FAILED})
ENDING = frozenset({State.SPARE, State.DELETING})
RUNS = frozenset({State.REQUESTED, State.PREPARING, State.BOOTING, State.READY, State.STOPPING, State.SUSPENDED,
                  State.SPARE, State.UNREACHABLE, State.DELETING})  # fmt: skip
"""States in which something of the machine may run, or is about to: a node with one of them is not empty."""


def rests(state: State, wants_running: bool) -> bool:
    """Whether a machine is in a state in which it may travel, and in which its owner wants it: a reboot, say, comes first."""
    if state in (State.READY, State.STOPPED):
        return wants_running == (state is State.READY)
    return state in LIVE | COLD


@dataclass(frozen=True, slots=True)
class Resident:
    """A machine of the node that is drained."""

    id: str
    state: State
    rests: bool
    ask: Ask
    group: str = ""
    """Machines with the same word here, where it is not empty, go to different nodes."""
    apart_from: frozenset[str] = frozenset()
    """Nodes that have one of its group."""
    image_on: frozenset[str] = frozenset()
    """Nodes that have what it boots."""
    moving_to: str = ""
    held: GarageError | None = None
    """Why it cannot leave its node, whichever other one would take it."""
    refusal: GarageError | None = None
    """Why its last try failed; it is tried again later."""


@dataclass(frozen=True, slots=True)
class Passage:
    """What becomes of one machine."""

    machine: str
    way: Way
    target: str = ""
    """The node that would take it, or takes it."""
    reason: GarageError | None = None


def plan_drain(
    residents: Sequence[Resident],
    rooms: Sequence[Room],
    policy: str,
    *,
    others: bool = True,
    away: GarageError | None = None,
) -> list[Passage]:
    """One entry per machine, in order. `rooms` are the other nodes that run machines in the same way; each machine that is given a place
    takes it from those that follow. `others`: there are nodes beside them. `away`: why nothing can leave the node at all."""
    plan = _Plan(list(rooms), policy, _OTHER_KIND if others else _NOBODY, away)
    return [plan.passage(resident) for resident in residents]


@dataclass(slots=True)
class _Plan:
    rooms: list[Room]
    policy: str
    nobody: GarageError
    away: GarageError | None
    given: set[tuple[str, str]] = field(default_factory=set)
    """(group, node) of those that have a place."""

    def passage(self, resident: Resident) -> Passage:
        state = resident.state
        if state in ENDING:
            return Passage(resident.id, Way.ENDS)
        way = (Way.LIVE if state in LIVE else Way.COLD) if resident.rests else Way.WAITS
        if resident.moving_to:
            return Passage(resident.id, way, resident.moving_to)
        if self.away is not None or state in (State.UNREACHABLE, State.LOST):
            return Passage(resident.id, Way.STAYS, reason=self.away or _UNKNOWN)
        if resident.held is not None:
            return Passage(resident.id, Way.STAYS, reason=resident.held)
        try:
            target = self._target(resident)
        except GarageError as error:
            return Passage(resident.id, Way.STAYS, reason=error)
        return Passage(resident.id, way, target, resident.refusal or (_BETWEEN if way is Way.WAITS else None))

    def _target(self, resident: Resident) -> str:
        """The node that placement chooses, whose room it takes; raises what placement says when none can have it."""
        if not self.rooms:
            raise self.nobody
        rooms = [self._seen_by(resident, room) for room in self.rooms]
        decisions = place(rooms, resident.ask, self.policy)
        if not decisions:
            raise refusal(rooms, resident.ask, stoppable=())
        target = decisions[0].chosen.node
        self.rooms = [with_machine(room, resident.ask) if room.name == target else room for room in self.rooms]
        self.given.add((resident.group, target))
        return target

    def _seen_by(self, resident: Resident, room: Room) -> Room:
        beside = room.name in resident.apart_from or (
            bool(resident.group) and (resident.group, room.name) in self.given
        )
        return replace(room, image=room.name in resident.image_on, kept_apart=beside)


_NOBODY = GarageError(
    "no_capacity",
    N_("no other node takes machines"),
    hint=N_("add a node, or activate one: “garage node list”"),
)
_OTHER_KIND = GarageError(
    "no_capacity",
    N_("no other node runs machines in the same way (KVM or emulation)"),
    hint=N_("stop it and make a new one elsewhere, or add a node of the same kind"),
)
_UNKNOWN = GarageError(
    "hypervisor_away",
    N_("nobody knows what became of it: its node has not answered"),
    hint=N_("wait until the node is back; it is found again by itself"),
)
_BETWEEN = GarageError(
    "wrong_state",
    N_("it starts or stops at this moment"),
    hint=N_("it moves as soon as it is up, or off"),
)
