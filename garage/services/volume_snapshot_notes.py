"""What a worker is told of volumes' snapshots, and what it tells of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from garage.core.snapshots import How, Order, SnapshotState, room_gib
from garage.core.volumes import VolumeState
from garage.db.models import Project
from garage.db.volume_models import Volume, VolumeSnapshot
from garage.errors import GarageError
from garage.services.context import Context, audit

OPEN = (SnapshotState.MAKING.value, SnapshotState.DELETING.value)


@dataclass(frozen=True, slots=True)
class VolumeCopied:
    volume: str
    snapshot: str
    bytes: int
    how: How


@dataclass(frozen=True, slots=True)
class VolumeNotCopied:
    """A snapshot was not made, or the volume not returned to it: what is on the volume is what was."""

    volume: str
    snapshot: str
    error: dict[str, Any] = field(hash=False)


@dataclass(frozen=True, slots=True)
class VolumeReverted:
    volume: str
    snapshot: str


@dataclass(frozen=True, slots=True)
class VolumeSnapshotGone:
    volume: str
    snapshot: str


VolumeSnapshotNote = VolumeCopied | VolumeNotCopied | VolumeReverted | VolumeSnapshotGone


def of_node(session: Session, node: str) -> Mapping[str, tuple[Order, ...]]:
    """What is wanted of snapshots there, by volume."""
    query = select(VolumeSnapshot).where(VolumeSnapshot.node == node, VolumeSnapshot.state.in_(OPEN))
    found: dict[str, tuple[Order, ...]] = {}
    for row in session.scalars(query.order_by(VolumeSnapshot.id)):
        remove = row.state == SnapshotState.DELETING.value
        order = Order(row.id, remove=remove, frozen=row.how != How.CRASH.value)
        found[row.volume_id] = (*found.get(row.volume_id, ()), order)
    return found


def note(session: Session, ctx: Context, volume: Volume, told: VolumeSnapshotNote) -> bool:
    """Write what a worker tells; False when something else is wanted of the snapshot by now."""
    row = session.get(VolumeSnapshot, told.snapshot)
    if row is None or row.volume_id != volume.id:
        return False
    returns = volume.state == VolumeState.REVERTING.value and volume.revert_to == row.id
    making = row.state == SnapshotState.MAKING.value
    match told:
        case VolumeSnapshotGone():
            session.delete(row)
        case VolumeCopied() if making:
            row.state, row.how, row.bytes, row.made_at = SnapshotState.READY.value, told.how, told.bytes, ctx.clock()
            row.held_gib = min(row.held_gib, room_gib(told.bytes))
        case VolumeReverted() if returns:
            _at_ease(volume)
        case VolumeNotCopied() if returns or making:
            row.error = told.error
            if returns:
                _at_ease(volume)
            else:
                row.state, row.held_gib = SnapshotState.FAILED.value, 0
            _tell(session, ctx, volume, row, told)
        case _:
            return False
    return True


def _at_ease(volume: Volume) -> None:
    """It belongs to its machine again, or to none."""
    state = VolumeState.ATTACHED if volume.machine_id else VolumeState.AVAILABLE
    volume.state, volume.revert_to = state.value, ""


def _tell(session: Session, ctx: Context, volume: Volume, row: VolumeSnapshot, told: VolumeNotCopied) -> None:
    project, code = session.get_one(Project, volume.project_id), GarageError.from_dict(told.error).code
    audit(session, ctx, "garage", "volume.snapshot_failed", f"{volume.name}.{project.name}", project_id=project.id,
          id=row.id, snapshot=row.name, code=code)  # fmt: skip


def bury(session: Session, volume: Volume) -> None:
    """The volume is gone, and its files with it."""
    session.execute(delete(VolumeSnapshot).where(VolumeSnapshot.volume_id == volume.id))
    session.delete(volume)
