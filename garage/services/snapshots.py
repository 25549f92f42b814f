"""Snapshots of machines as people ask for them: made, listed, returned to, deleted. A machine's worker does it (`snapshot_notes`).

They lie beside the machine, on its node, and go with it. While there are any it stays there: a drain says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from garage.core.changes import Redo
from garage.core.placement import shortfall
from garage.core.refusal import short
from garage.core.snapshots import How, SnapshotState
from garage.core.states import State
from garage.core.types import Demand
from garage.db.models import Image, Machine, User
from garage.db.revisions import touch
from garage.db.snapshot_models import Snapshot
from garage.errors import N_, GarageError
from garage.services import capacity, moving, snapshot_rules
from garage.services.context import Caller, Context, audit, publish_machine
from garage.services.rights import acts_in, machine_for

OFF = (State.STOPPED.value, State.FAILED.value)
LIST = "garage machine snapshot list"


@dataclass(frozen=True, slots=True)
class SnapshotView:
    id: str
    name: str
    machine: str
    state: str
    """`core.snapshots.SnapshotState`."""
    how: str
    """`core.snapshots.How`."""
    image: str
    disk_gib: int
    held_gib: int
    """Of the project's quota."""
    bytes: int
    owner: str
    created_at: float
    made_at: float | None
    error: dict[str, Any] | None
    reverting: bool
    """The machine is being returned to it."""
    actions: list[str]
    """What may be done now: of "revert", "delete"."""


def create(ctx: Context, caller: Caller, ref: str, name: str = "", *, crash_consistent: bool = False) -> SnapshotView:
    """Of a machine that is off; or runs, with its file systems frozen for a moment, unless it may be as after a power cut."""
    name = snapshot_rules.named(ctx, name)
    with ctx.db.write() as session:
        machine = machine_for(session, caller, ref)
        _check_can_be_made(machine)
        _check_new(session, machine, name)
        _check_room(session, ctx, machine)
        how = How.FROZEN if machine.state == State.READY.value else How.OFF
        row = Snapshot(
            id=ctx.new_id(),
            machine_id=machine.id,
            name=name,
            state=SnapshotState.MAKING.value,
            how=(How.CRASH if crash_consistent else how).value,
            image_id=machine.image_id,
            disk_gib=machine.disk_gib,
            held_gib=machine.disk_gib,
            created_by=caller.user_id,
            created_at=ctx.clock(),
        )
        session.add(row)
        return _done(session, ctx, caller, machine, row, "snapshot.create")


def listing(ctx: Context, caller: Caller, ref: str) -> list[SnapshotView]:
    """Of one machine, the newest first."""
    with ctx.db.read() as session:
        machine = machine_for(session, caller, ref, reading=True)
        query = select(Snapshot).where(Snapshot.machine_id == machine.id).order_by(Snapshot.id.desc())
        return _as_seen(session, caller, machine, _views(session, machine, session.scalars(query).all()))


def get(ctx: Context, caller: Caller, ref: str, name: str) -> SnapshotView:
    with ctx.db.read() as session:
        machine = machine_for(session, caller, ref, reading=True)
        return _as_seen(session, caller, machine, _views(session, machine, [find(session, machine, name)]))[0]


def _as_seen(session: Session, caller: Caller, machine: Machine, views: list[SnapshotView]) -> list[SnapshotView]:
    """An auditor has nothing to press."""
    if acts_in(session, caller, machine.project_id):
        return views
    return [replace(view, actions=[]) for view in views]


def revert(ctx: Context, caller: Caller, ref: str, name: str) -> SnapshotView:
    """The disk of a machine that is off becomes what it was; everything since is lost. Who it is, its addresses and keys stay."""
    with ctx.db.write() as session:
        machine = machine_for(session, caller, ref)
        row = find(session, machine, name)
        _check_can_return(session, machine, row)
        machine.redo, machine.revert_to, machine.reverted_at = Redo.REVERT.value, row.id, ctx.clock()
        row.error = None
        return _done(session, ctx, caller, machine, row, "snapshot.revert")


def delete(ctx: Context, caller: Caller, ref: str, name: str) -> SnapshotView:
    """Also one that is being made: that is called off."""
    with ctx.db.write() as session:
        machine = machine_for(session, caller, ref)
        row = find(session, machine, name)
        if machine.revert_to == row.id:
            raise _returning(machine)
        row.state = SnapshotState.DELETING.value
        view = _done(session, ctx, caller, machine, row, "snapshot.delete")
        if machine.state == State.LOST.value:  # nobody can remove a file there
            session.delete(row)
        return view


def holding(session: Session, machines: Iterable[Machine]) -> dict[str, GarageError]:
    """By id, why machines cannot leave their node, if that is because of their snapshots."""
    named = {machine.id: machine.name for machine in machines}
    query = select(Snapshot.machine_id, func.count()).where(Snapshot.machine_id.in_(named))
    return {
        machine_id: GarageError(
            "in_use",
            N_("{name} has {count} snapshots, which lie on its node"),
            hint=N_("it can move when its owner has deleted them: garage machine snapshot delete"),
            name=named[machine_id],
            count=count,
        )
        for machine_id, count in session.execute(query.group_by(Snapshot.machine_id))
    }


def check_none_made(session: Session, machine: Machine) -> None:
    """Raises `wrong_state` while one is being made of the disk as it is."""
    making = Snapshot.machine_id == machine.id, Snapshot.state == SnapshotState.MAKING.value
    if session.scalar(select(Snapshot.id).where(*making).limit(1)):
        raise GarageError(
            "wrong_state",
            N_("a snapshot of {name} is being made"),
            hint=N_("wait until it is there, or delete it"),
            name=machine.name,
        )


def _check_can_be_made(machine: Machine) -> None:
    _check_stays(machine)
    if machine.state not in (State.READY.value, *OFF):
        raise GarageError(
            "wrong_state",
            N_("{name} is {state}; a snapshot can be made while it is ready or off"),
            hint=N_("wait until it is one of them"),
            name=machine.name,
            state=machine.state,
        )


def _check_stays(machine: Machine) -> None:
    moving.check_stays(machine)
    if machine.redo == Redo.REVERT.value:
        raise _returning(machine)
    if machine.redo == Redo.DISK.value:
        raise GarageError(
            "wrong_state",
            N_("{name} is to get a new disk"),
            hint=N_("start it first: garage machine start {name}"),
            name=machine.name,
        )


def _returning(machine: Machine) -> GarageError:
    return GarageError(
        "wrong_state",
        N_("{name} is being returned to a snapshot"),
        hint=N_("wait until that is done"),
        name=machine.name,
    )


def _check_can_return(session: Session, machine: Machine, row: Snapshot) -> None:
    _check_stays(machine)
    if machine.state not in OFF or (machine.state == State.STOPPED.value and machine.wants_running):
        raise GarageError(
            "wrong_state",
            N_("{name} is {state}; it can be returned to a snapshot only while it is off"),
            hint=N_("stop it first: garage machine stop {name}"),
            name=machine.name,
            state=machine.state,
        )
    check_none_made(session, machine)
    if row.state != SnapshotState.READY.value:
        raise snapshot_rules.not_ready(machine.name, row.name, LIST)


def _check_new(session: Session, machine: Machine, name: str) -> None:
    taken = session.scalars(select(Snapshot.name).where(Snapshot.machine_id == machine.id))
    snapshot_rules.check_new(machine.name, name, taken.all())


def _check_room(session: Session, ctx: Context, machine: Machine) -> None:
    """As much as the disk may hold has to fit into the project's quota and on the node; once it is made it counts for what it takes."""
    capacity.check_growth(session, machine.project, {"disk_gib": machine.disk_gib})
    room, demand = capacity.room_of(session, ctx, machine.node), Demand(0, 0, machine.disk_gib)
    if shortfall(room, demand) is not None:
        raise short(room, demand)


def find(session: Session, machine: Machine, name: str, *, pointer: str = "") -> Snapshot:
    """`pointer`: to the field that names it, where one does."""
    query = select(Snapshot).where(Snapshot.machine_id == machine.id, Snapshot.name == name)
    if row := session.scalars(query).first():
        return row
    raise snapshot_rules.not_there(machine.name, name, LIST, pointer)


def _done(session: Session, ctx: Context, caller: Caller, machine: Machine, row: Snapshot, action: str) -> SnapshotView:
    """Told to whoever watches the machine, to its worker, and to the log."""
    if ctx.request:
        machine.request = ctx.request
    publish_machine(session, ctx, machine)
    subject = f"{machine.name}.{machine.project.name}"
    audit(session, ctx, caller.name, action, subject, project_id=machine.project_id, id=row.id, snapshot=row.name)
    session.flush()
    touch(session, [machine.node])
    return _views(session, machine, [row])[0]


def _views(session: Session, machine: Machine, rows: Sequence[Snapshot]) -> list[SnapshotView]:
    images = {row.image_id for row in rows}
    named = dict(session.execute(select(Image.id, Image.name).where(Image.id.in_(images))).all())
    owners = select(User.id, User.name).where(User.id.in_({row.created_by for row in rows}))
    people = dict(session.execute(owners).all())
    same = ("id", "name", "state", "how", "disk_gib", "held_gib", "bytes", "created_at", "made_at", "error")
    return [
        SnapshotView(
            **{field: getattr(row, field) for field in same},
            machine=machine.id,
            image=named[row.image_id],
            owner=people.get(row.created_by, ""),
            reverting=machine.revert_to == row.id,
            actions=_actions(machine, row),
        )
        for row in rows
    ]


def _actions(machine: Machine, row: Snapshot) -> list[str]:
    if machine.revert_to == row.id or row.state == SnapshotState.DELETING.value:
        return []
    still = not machine.moving_to and machine.redo not in (Redo.DISK.value, Redo.REVERT.value)
    can = row.state == SnapshotState.READY.value and machine.state in OFF and still
    return ["revert", "delete"] if can else ["delete"]
