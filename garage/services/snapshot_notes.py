"""What a worker is told of snapshots, and what it tells of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from garage.core.changes import Redo, Wanted
from garage.core.snapshots import How, Order, SnapshotState, room_gib
from garage.db.models import Machine, Project
from garage.db.snapshot_models import Snapshot
from garage.db.volume_models import VolumeSnapshot
from garage.errors import GarageError
from garage.services.context import Context, audit, publish_machine

OPEN = (SnapshotState.MAKING.value, SnapshotState.DELETING.value)


@dataclass(frozen=True, slots=True)
class SnapshotMade:
    machine: str
    snapshot: str
    bytes: int
    how: How


@dataclass(frozen=True, slots=True)
class SnapshotFailed:
    """It was not made, or `returning` the machine to it did not work: the disk is what it was."""

    machine: str
    snapshot: str
    error: dict[str, Any] = field(hash=False)
    returning: bool = False


@dataclass(frozen=True, slots=True)
class SnapshotGone:
    machine: str
    snapshot: str


SnapshotNote = SnapshotMade | SnapshotFailed | SnapshotGone


def of_node(session: Session, node: str) -> Mapping[str, tuple[Order, ...]]:
    """What is wanted of snapshots there, by machine; a machine that has any is in it."""
    query = select(Snapshot).join(Machine, Machine.id == Snapshot.machine_id).where(Machine.node == node)
    found: dict[str, tuple[Order, ...]] = {}
    for row in session.scalars(query.order_by(Snapshot.id)):
        remove = row.state == SnapshotState.DELETING.value
        order = Order(row.id, remove=remove, frozen=row.how != How.CRASH.value)
        found[row.machine_id] = (*found.get(row.machine_id, ()), *([order] if row.state in OPEN else ()))
    return found


def still_wanted(ctx: Context, machine: Wanted, snapshot: str) -> bool:
    """Whether a snapshot that is being made of a machine that runs, or of one of its volumes, still is, and nothing else is wanted of the
    machine by now."""
    now = select(Machine.state, Machine.state_since).where(Machine.id == machine.id)
    with ctx.db.read() as session:
        row = session.execute(now).first()
        made = session.get(Snapshot, snapshot) or session.get(VolumeSnapshot, snapshot)
    making = made is not None and made.state == SnapshotState.MAKING.value
    return making and row is not None and tuple(row) == (machine.state.value, machine.state_since)


def note(session: Session, ctx: Context, machine: Machine, told: SnapshotNote) -> bool:
    """Write what a worker tells; False when something else is wanted of the snapshot by now."""
    row = session.get(Snapshot, told.snapshot)
    if row is None:
        return False
    match told:
        case SnapshotMade():
            if row.state != SnapshotState.MAKING.value:
                return False
            row.state, row.how, row.bytes, row.made_at = SnapshotState.READY.value, told.how, told.bytes, ctx.clock()
            row.held_gib = min(row.held_gib, room_gib(told.bytes))
        case SnapshotFailed():
            _failed(machine, row, told)
            code = GarageError.from_dict(told.error).code
            project = session.get_one(Project, machine.project_id)
            audit(session, ctx, "garage", "snapshot.failed", f"{machine.name}.{project.name}", project_id=project.id,
                  id=row.id, snapshot=row.name, code=code)  # fmt: skip
        case SnapshotGone():
            session.delete(row)
    publish_machine(session, ctx, machine)
    return True


def _failed(machine: Machine, row: Snapshot, told: SnapshotFailed) -> None:
    row.error = told.error
    if told.returning:
        machine.redo = machine.revert_to = Redo.NOTHING.value
    elif row.state == SnapshotState.MAKING.value:
        row.state, row.held_gib = SnapshotState.FAILED.value, 0


def returned(session: Session, ctx: Context, machine: Machine) -> None:
    """The machine's disk is the snapshot's: it lies on that image, and who may log in by it is older than who may now."""
    row = session.get_one(Snapshot, machine.revert_to)
    machine.image_id, machine.revert_to, machine.keys_applied = row.image_id, "", False
    publish_machine(session, ctx, machine)


def bury(session: Session, machine: Machine) -> None:
    """The machine is gone, and its files with it."""
    session.execute(delete(Snapshot).where(Snapshot.machine_id == machine.id))
