"""Shapes of a node that is emptied."""

from __future__ import annotations

from pydantic import Field

from garage.api.schemas import FailureOut, Out, Time
from garage.core.drain import Way
from garage.core.node_states import NodeState
from garage.core.states import State


class PassageOut(Out):
    id: str
    name: str
    project: str = Field(description="Empty for a pool machine.")
    owner: str
    state: State
    way: Way = Field(
        description="live: it moves while it runs; cold: it is off, and its disk is copied; ends: nobody's; "
        "waits: it moves when it is up, or off; stays: it cannot move."
    )
    target: str
    moving: bool
    percent: int
    reason: FailureOut | None = None


class MoveOut(Out):
    id: int
    machine: str
    name: str
    project: str
    owner: str
    target: str
    way: Way
    began_at: Time
    ended_at: Time
    pause_ms: float | None = Field(description="For how long the guest stood still.")
    arrived: bool
    reason: FailureOut | None = None


class DrainOut(Out):
    node: str
    state: NodeState
    state_since: Time
    ours: bool = Field(description="So many nodes are silent that the fault must be ours: nothing moves.")
    machines: list[PassageOut]
    moves: list[MoveOut] = Field(description="Those that have ended, the newest first.")
