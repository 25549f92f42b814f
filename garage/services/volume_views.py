"""Volumes as they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from garage.core.states import State
from garage.core.volumes import VolumeState, by_id
from garage.db.models import Machine, User
from garage.db.volume_models import Volume
from garage.services.context import Caller
from garage.services.rights import acts_in

RESTS = (State.READY.value, State.STOPPED.value, State.FAILED.value)
"""States of a machine in which a disk can come and go."""
OFF = (State.STOPPED.value, State.FAILED.value)
AT_EASE = (VolumeState.AVAILABLE.value, VolumeState.ATTACHED.value)
"""Nothing is being done with a volume."""


@dataclass(frozen=True, slots=True)
class VolumeView:
    id: str
    name: str
    project: str
    owner: str
    state: str
    """`core.volumes.VolumeState`."""
    node: str
    size_gib: int
    made_gib: int
    """How large it is by now."""
    machine: str | None
    """The name of the machine that has it."""
    machine_id: str | None
    path: str
    """Where a guest finds it."""
    created_at: float
    error: dict[str, Any] | None
    actions: list[str]
    """What may be done now: of "attach", "detach", "grow", "snapshot", "delete"."""


def is_up(machine: Any) -> bool:
    """And is to stay so: what a guest has can be copied by its QEMU."""
    return bool(machine.state == State.READY.value and machine.wants_running)


def is_off(state: str, *, wants_running: bool) -> bool:
    """Of a machine: and it does not start at this moment."""
    return state in OFF and not (state == State.STOPPED.value and wants_running)


def as_seen(session: Session, caller: Caller, rows: Sequence[Volume]) -> list[VolumeView]:
    """An auditor has nothing to press."""
    mine = {project: acts_in(session, caller, project) for project in {row.project_id for row in rows}}
    return [
        view if mine[row.project_id] else replace(view, actions=[])
        for row, view in zip(rows, views(session, rows), strict=True)
    ]


def views(session: Session, rows: Sequence[Volume]) -> list[VolumeView]:
    owners = select(User.id, User.name).where(User.id.in_({row.created_by for row in rows}))
    people = dict(session.execute(owners).all())
    columns = Machine.id, Machine.name, Machine.state, Machine.wants_running
    with_them = select(*columns).where(Machine.id.in_({row.machine_id for row in rows}))
    machines = {machine.id: machine for machine in session.execute(with_them)}
    same = ("id", "name", "state", "node", "size_gib", "made_gib", "machine_id", "created_at", "error")
    return [
        VolumeView(
            **{field: getattr(row, field) for field in same},
            project=row.project.name,
            owner=people.get(row.created_by, ""),
            machine=machines[row.machine_id].name if row.machine_id in machines else None,
            path=by_id(row.id),
            actions=_actions(row, machines.get(row.machine_id)),
        )
        for row in rows
    ]


def _actions(row: Volume, machine: Any) -> list[str]:
    machine_state = machine.state if machine else ""
    still = machine is None or is_off(machine_state, wants_running=machine.wants_running)
    kept = ["snapshot"] if (still or is_up(machine)) and row.made_gib >= row.size_gib else []
    match VolumeState(row.state):
        case VolumeState.AVAILABLE:
            return ["attach", "grow", *kept, "delete"]
        case VolumeState.ATTACHING | VolumeState.ATTACHED | VolumeState.REVERTING if machine_state == State.LOST.value:
            return ["detach", "delete"]
        case VolumeState.ATTACHED if machine_state in RESTS:
            return ["detach", "grow", *kept]
        case VolumeState.ATTACHING if machine_state in RESTS:
            return ["detach"]
        case VolumeState.MAKING | VolumeState.FAILED | VolumeState.REVERTING if row.machine_id is None:
            return ["delete"]
        case _:
            return []
