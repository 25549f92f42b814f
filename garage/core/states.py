"""The life of a machine: one column, one table. A pair that is not listed is `wrong_state`."""

from __future__ import annotations

from enum import StrEnum

from garage.errors import N_, GarageError


class State(StrEnum):
    REQUESTED = "requested"
    SPARE = "spare"
    PREPARING = "preparing"
    BOOTING = "booting"
    READY = "ready"
    STOPPING = "stopping"
    STOPPED = "stopped"
    SUSPENDED = "suspended"
    FAILED = "failed"
    UNREACHABLE = "unreachable"
    LOST = "lost"
    DELETING = "deleting"
    GONE = "gone"


class Event(StrEnum):
    PLACED = "placed"
    TAKEN = "taken"
    """A request took this machine out of a pool."""
    IDENTIFIED = "identified"
    """It has its identity, and its own SSH sent a banner."""
    AGED = "aged"
    """A pool machine that nobody may have any more: too old, of an older image, or in the way of one that runs."""
    REFUSED = "refused"
    STARTED = "started"
    """The domain runs."""
    ANSWERED = "answered"
    """Its own SSH sent a banner."""
    ERROR = "error"
    STOP = "stop"
    SUSPEND = "suspend"
    POWERED_OFF = "powered_off"
    """The guest switched itself off."""
    OFF = "off"
    """A wanted stop is done."""
    START = "start"
    SILENT = "silent"
    """The node does not answer (or is going down)."""
    FOUND_RUNNING = "found_running"
    FOUND_OFF = "found_off"
    DISK_GONE = "disk_gone"
    REBUILD = "rebuild"
    """The same machine on a new disk is wanted."""
    DELETE = "delete"
    DELETED = "deleted"


S, E = State, Event

TABLE: dict[tuple[State, Event], State] = {
    (S.REQUESTED, E.PLACED): S.PREPARING,
    (S.REQUESTED, E.REFUSED): S.FAILED,
    (S.SPARE, E.TAKEN): S.PREPARING,
    (S.SPARE, E.AGED): S.DELETING,
    (S.PREPARING, E.STARTED): S.BOOTING,
    (S.PREPARING, E.IDENTIFIED): S.READY,
    (S.PREPARING, E.ERROR): S.FAILED,
    (S.BOOTING, E.ANSWERED): S.READY,
    (S.BOOTING, E.ERROR): S.FAILED,
    (S.BOOTING, E.STOP): S.STOPPING,
    (S.BOOTING, E.POWERED_OFF): S.STOPPED,
    (S.BOOTING, E.SILENT): S.UNREACHABLE,
    (S.READY, E.STOP): S.STOPPING,
    (S.READY, E.SUSPEND): S.SUSPENDED,
    (S.READY, E.POWERED_OFF): S.STOPPED,
    (S.READY, E.SILENT): S.UNREACHABLE,
    (S.READY, E.ERROR): S.FAILED,
    (S.STOPPING, E.OFF): S.STOPPED,
    (S.STOPPED, E.START): S.BOOTING,
    (S.SUSPENDED, E.START): S.BOOTING,
    (S.FAILED, E.START): S.BOOTING,
    (S.FAILED, E.STOP): S.STOPPING,
    **{(state, E.REBUILD): S.PREPARING for state in (S.BOOTING, S.READY, S.STOPPED, S.SUSPENDED, S.FAILED)},
    (S.UNREACHABLE, E.FOUND_RUNNING): S.BOOTING,
    (S.UNREACHABLE, E.FOUND_OFF): S.STOPPED,
    (S.UNREACHABLE, E.DISK_GONE): S.LOST,
    **{(state, E.DELETE): S.DELETING for state in S if state not in (S.GONE, S.DELETING)},
    (S.DELETING, E.DELETED): S.GONE,
}
"""DESIGN's table, five pairs that docs/decisions/0030-worker.md gives reasons for, and those of REBUILD (0150-machines-again.md). A machine
found running after silence is `booting` until its SSH has answered again: `ready` is never assumed."""

COUNTED = frozenset(S) - {S.GONE, S.LOST}
"""States that use quota, an address and disk."""
RUNNING = frozenset({S.PREPARING, S.BOOTING, S.READY, S.STOPPING, S.UNREACHABLE, S.REQUESTED})
"""States that hold RAM and vCPU on their node."""


def after(state: State, event: Event, *, name: str) -> State:
    """The state that follows; raises `wrong_state` for a pair that the table does not list."""
    try:
        return TABLE[state, event]
    except KeyError:
        raise GarageError(
            "wrong_state",
            N_("{name} is {state}; {event} is not possible now"),
            hint=_HINTS.get(event, ""),
            name=name,
            state=state.value,
            event=event.value,
        ) from None


_HINTS: dict[Event, str] = {
    E.START: N_("only a stopped, suspended or failed machine can be started"),
    E.STOP: N_("only a running machine can be stopped"),
    E.REBUILD: N_("only a machine that runs, is off or has failed can be rebuilt"),
    E.DELETE: N_("it is already being deleted"),
}
