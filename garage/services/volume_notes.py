"""What a worker is told of volumes, and what it tells of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from garage.core.snapshots import Order
from garage.core.volumes import Volume as Wanted
from garage.core.volumes import VolumeState
from garage.db.models import Machine, Node, Project
from garage.db.volume_models import Volume
from garage.errors import GarageError
from garage.services import volume_snapshot_notes
from garage.services.context import Context, audit, publish_machine
from garage.services.volume_snapshot_notes import VolumeSnapshotNote

S = VolumeState


@dataclass(frozen=True, slots=True)
class VolumeMade:
    """It is there, or has grown to, `gib`."""

    volume: str
    gib: int


@dataclass(frozen=True, slots=True)
class VolumeAttached:
    volume: str
    machine: str


@dataclass(frozen=True, slots=True)
class VolumeDetached:
    volume: str
    machine: str


@dataclass(frozen=True, slots=True)
class VolumeRefused:
    """What was asked of it while it was in `state` could not be done. `stays`: it is tried again."""

    volume: str
    state: VolumeState
    error: dict[str, Any] = field(hash=False)
    stays: bool = False


@dataclass(frozen=True, slots=True)
class VolumeGone:
    volume: str


VolumeNote = VolumeMade | VolumeAttached | VolumeDetached | VolumeRefused | VolumeGone | VolumeSnapshotNote


def of_node(session: Session, node: str) -> tuple[Mapping[str, tuple[Wanted, ...]], Mapping[str, Wanted]]:
    """(those of machines there, by machine; those that no machine has and of which something is wanted, by id)."""
    with_machines: dict[str, tuple[Wanted, ...]] = {}
    alone: dict[str, Wanted] = {}
    grows = and_(Volume.state == S.AVAILABLE.value, Volume.made_gib < Volume.size_gib)
    orders = volume_snapshot_notes.of_node(session, node)
    busy = or_(Volume.state.not_in([S.AVAILABLE.value, S.FAILED.value]), grows, Volume.id.in_(orders))
    for row in session.scalars(select(Volume).where(Volume.node == node, busy).order_by(Volume.slot, Volume.id)):
        wanted = _wanted(row, orders.get(row.id, ()))
        if row.machine_id is not None and row.state != S.MAKING.value:
            with_machines[row.machine_id] = (*with_machines.get(row.machine_id, ()), wanted)
        else:
            alone[row.id] = wanted
    return with_machines, alone


def _wanted(row: Volume, orders: tuple[Order, ...]) -> Wanted:
    return Wanted(
        id=row.id,
        name=row.name,
        state=S(row.state),
        size_gib=row.size_gib,
        made_gib=row.made_gib,
        slot=row.slot or 0,
        request=row.request,
        orders=orders,
        revert_to=row.revert_to,
    )


def note(session: Session, ctx: Context, node: Node, told: VolumeNote) -> bool:
    """Write what a worker tells; False when something else is wanted of the volume by now."""
    row = session.get(Volume, told.volume)
    if row is None or row.node != node.name:
        return False
    machine = session.get(Machine, row.machine_id) if row.machine_id else None
    wanted = _take(session, ctx, row, told)
    if wanted and machine is not None:
        publish_machine(session, ctx, machine)
    return wanted


def _take(session: Session, ctx: Context, row: Volume, told: VolumeNote) -> bool:
    if isinstance(told, VolumeSnapshotNote):
        return volume_snapshot_notes.note(session, ctx, row, told)
    if isinstance(told, VolumeMade):
        wanted = True
    elif isinstance(told, VolumeRefused):
        wanted = row.state == told.state.value
    else:
        state, machine_id = _IN[type(told)], getattr(told, "machine", row.machine_id)
        wanted = (row.state, row.machine_id) == (state.value, machine_id)
    if wanted:
        _write(session, ctx, row, told)
    return wanted


_IN: dict[type, VolumeState] = {VolumeAttached: S.ATTACHING, VolumeDetached: S.DETACHING, VolumeGone: S.DELETING}
"""In which state of the volume that is what was wanted."""


def _write(session: Session, ctx: Context, row: Volume, told: VolumeNote) -> None:
    match told:
        case VolumeMade():
            _made(row, told.gib)
        case VolumeAttached():
            row.state = S.ATTACHED.value
        case VolumeDetached():
            _free(row, S.AVAILABLE)
            row.error = None
        case VolumeRefused():
            _refused(session, ctx, row, told)
        case VolumeGone():
            volume_snapshot_notes.bury(session, row)


def _made(row: Volume, gib: int) -> None:
    row.made_gib = max(row.made_gib, gib)
    if row.state == S.MAKING.value:
        row.state = (S.ATTACHING if row.machine_id else S.AVAILABLE).value


def _free(row: Volume, state: VolumeState) -> None:
    row.state, row.machine_id, row.slot = state.value, None, None


def _refused(session: Session, ctx: Context, row: Volume, told: VolumeRefused) -> None:
    if row.error == told.error and told.stays:
        return
    row.error = told.error
    project = session.get_one(Project, row.project_id)
    code = GarageError.from_dict(told.error).code
    audit(session, ctx, "garage", "volume.failed", f"{row.name}.{project.name}", project_id=project.id,
          id=row.id, state=row.state, code=code)  # fmt: skip
    if told.stays:
        return
    match told.state:
        case S.MAKING:
            _free(row, S.FAILED)
        case S.ATTACHING:
            _free(row, S.AVAILABLE)
        case S.DETACHING:
            row.state = S.ATTACHED.value
        case S.ATTACHED | S.AVAILABLE:
            row.size_gib = row.made_gib


def release(session: Session, machine: Machine) -> None:
    """The machine is gone: its volumes stay, unless they are to be deleted, too."""
    for row in session.scalars(select(Volume).where(Volume.machine_id == machine.id)):
        state = S(row.state)
        _free(row, state if state in (S.MAKING, S.REVERTING, S.DELETING) else S.AVAILABLE)
