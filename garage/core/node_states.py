"""The life of a node: what an admin wants of it. A pair that is not listed is `wrong_state`. Whether it answers is another thing:
see `silence`."""

from __future__ import annotations

from enum import StrEnum

from garage.errors import N_, GarageError


class NodeState(StrEnum):
    ACTIVE = "active"
    """Takes machines."""
    DRAINING = "draining"
    """Gives its machines away, one at a time, and takes none."""
    MAINTENANCE = "maintenance"
    """Nothing runs on it, and it takes none: it may be switched off."""


class NodeEvent(StrEnum):
    DRAIN = "drain"
    DRAINED = "drained"
    """Nothing runs on it any more, and what is left cannot move."""
    MAINTAIN = "maintain"
    """An admin says that it is being worked on; only where nothing runs."""
    ACTIVATE = "activate"


S, E = NodeState, NodeEvent
TABLE: dict[tuple[NodeState, NodeEvent], NodeState] = {
    (S.ACTIVE, E.DRAIN): S.DRAINING,
    (S.DRAINING, E.DRAIN): S.DRAINING,  # try at once what could not move
    (S.MAINTENANCE, E.DRAIN): S.DRAINING,  # there may be room now for what was left
    (S.DRAINING, E.DRAINED): S.MAINTENANCE,
    (S.ACTIVE, E.MAINTAIN): S.MAINTENANCE,
    (S.DRAINING, E.MAINTAIN): S.MAINTENANCE,
    (S.DRAINING, E.ACTIVATE): S.ACTIVE,
    (S.MAINTENANCE, E.ACTIVATE): S.ACTIVE,
}


def after(state: NodeState, event: NodeEvent, *, name: str) -> NodeState:
    """The state that follows; raises `wrong_state` for a pair that the table does not list."""
    try:
        return TABLE[state, event]
    except KeyError:
        raise GarageError(
            "wrong_state",
            N_("the node {name} is {state}; {event} is not possible now"),
            hint=N_("“garage node list” shows the state of each node"),
            name=name,
            state=state.value,
            event=event.value,
        ) from None
