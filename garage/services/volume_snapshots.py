"""Snapshots of volumes as people ask for them: made, listed, returned to, deleted. Their node's worker does it (`volume_snapshot_notes`).

One is made while no machine has the volume, or one that is ready or off; returned to it is while none that runs has it. They lie beside it,
on its node, and go with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from garage.core.snapshots import How, SnapshotState, room_gib
from garage.core.states import State
from garage.core.volumes import VolumeState
from garage.db.models import Machine, User
from garage.db.revisions import touch
from garage.db.volume_models import Volume, VolumeSnapshot
from garage.errors import N_, GarageError
from garage.services import capacity, snapshot_rules, volumes
from garage.services import volume_rules as rules
from garage.services.context import Caller, Context, audit, publish_machine
from garage.services.rights import acts_in
from garage.services.volume_views import AT_EASE, is_off, is_up

LIST = "garage volume snapshot list"


@dataclass(frozen=True, slots=True)
class VolumeSnapshotView:
    id: str
    name: str
    volume: str
    """Its id."""
    state: str
    """`core.snapshots.SnapshotState`."""
    how: str
    """`core.snapshots.How`."""
    size_gib: int
    """Of the volume then."""
    held_gib: int
    """Of the project's quota."""
    bytes: int
    owner: str
    created_at: float
    made_at: float | None
    error: dict[str, Any] | None
    reverting: bool
    """The volume is being returned to it."""
    actions: list[str]
    """What may be done now: of "revert", "delete"."""


def create(
    ctx: Context, caller: Caller, ref: str, name: str = "", *, crash_consistent: bool = False
) -> VolumeSnapshotView:
    """Of a volume that no machine has, or one that is off; or runs, with its file systems frozen for a moment, unless what is on the volume
    may be as after a power cut."""
    name = snapshot_rules.named(ctx, name)
    with ctx.db.write() as session:
        volume = volumes.find(session, caller, ref)
        how = _how(session, volume)
        taken = session.scalars(select(VolumeSnapshot.name).where(VolumeSnapshot.volume_id == volume.id))
        snapshot_rules.check_new(volume.name, name, taken.all())
        capacity.check_growth(session, volume.project, {"disk_gib": volume.size_gib})
        rules.check_room(session, ctx, volume.node, volume.size_gib)
        row = VolumeSnapshot(
            id=ctx.new_id(),
            volume_id=volume.id,
            node=volume.node,
            name=name,
            state=SnapshotState.MAKING.value,
            how=(How.CRASH if crash_consistent else how).value,
            size_gib=volume.size_gib,
            held_gib=volume.size_gib,
            created_by=caller.user_id,
            created_at=ctx.clock(),
        )
        session.add(row)
        return _done(session, ctx, caller, volume, row, "volume.snapshot")


def listing(ctx: Context, caller: Caller, ref: str) -> list[VolumeSnapshotView]:
    """Of one volume, the newest first."""
    with ctx.db.read() as session:
        volume = volumes.find(session, caller, ref, reading=True)
        query = select(VolumeSnapshot).where(VolumeSnapshot.volume_id == volume.id).order_by(VolumeSnapshot.id.desc())
        return _as_seen(session, caller, volume, session.scalars(query).all())


def get(ctx: Context, caller: Caller, ref: str, name: str) -> VolumeSnapshotView:
    with ctx.db.read() as session:
        volume = volumes.find(session, caller, ref, reading=True)
        return _as_seen(session, caller, volume, [_find(session, volume, name)])[0]


def revert(ctx: Context, caller: Caller, ref: str, name: str) -> VolumeSnapshotView:
    """The volume holds what it held then; what came since is lost. It keeps its size, if that is larger by now."""
    with ctx.db.write() as session:
        volume = volumes.find(session, caller, ref)
        row = _find(session, volume, name)
        _check_still(session, volume)
        rules.check_not_copied(session, volume)
        if row.state != SnapshotState.READY.value:
            raise snapshot_rules.not_ready(volume.name, row.name, LIST)
        rules.check_room(session, ctx, volume.node, room_gib(row.bytes))  # until the new copy is whole, both are there
        volume.state, volume.revert_to, row.error = VolumeState.REVERTING.value, row.id, None
        return _done(session, ctx, caller, volume, row, "volume.revert")


def delete(ctx: Context, caller: Caller, ref: str, name: str) -> VolumeSnapshotView:
    """Also one that is being made: that is called off. Raises `wrong_state` while the volume is being returned to it."""
    with ctx.db.write() as session:
        volume = volumes.find(session, caller, ref)
        row = _find(session, volume, name)
        if volume.revert_to == row.id:
            raise rules.wrong(session, volume, N_("wait until that is done"))
        row.state = SnapshotState.DELETING.value
        return _done(session, ctx, caller, volume, row, "volume.snapshot_delete")


def _how(session: Session, volume: Volume) -> How:
    """A copy can be made now. Raises `in_use`, `wrong_state`."""
    machine = session.get(Machine, volume.machine_id) if volume.machine_id else None
    if volume.state == VolumeState.ATTACHED.value and machine is not None and is_up(machine):
        rules.check_grown(volume)
        return How.FROZEN
    _check_still(session, volume)
    return How.OFF


def _check_still(session: Session, volume: Volume) -> None:
    """Nobody writes it, and nothing else is being done with it: it neither grows nor returns to a snapshot."""
    machine = session.get(Machine, volume.machine_id) if volume.machine_id else None
    if volume.state == VolumeState.ATTACHED.value and machine is not None and not _is_off(machine):
        raise GarageError(
            "in_use",
            N_("{machine} has the volume {name}, and is not off"),
            hint=N_("stop the machine first, garage machine stop {machine}, or detach the volume: garage volume detach {name}"),
            machine=machine.name,
            name=volume.name,
        )  # fmt: skip
    if volume.state not in AT_EASE:
        raise rules.wrong(session, volume, N_("wait until it is available, or attached to a machine that is off"))
    rules.check_grown(volume)


def _is_off(machine: Machine) -> bool:
    return is_off(machine.state, wants_running=machine.wants_running)


def _find(session: Session, volume: Volume, name: str) -> VolumeSnapshot:
    query = select(VolumeSnapshot).where(VolumeSnapshot.volume_id == volume.id, VolumeSnapshot.name == name)
    if row := session.scalars(query).first():
        return row
    raise snapshot_rules.not_there(volume.name, name, LIST)


def _done(
    session: Session, ctx: Context, caller: Caller, volume: Volume, row: VolumeSnapshot, action: str
) -> VolumeSnapshotView:
    """Told to whoever watches its machine, to its worker, and to the log."""
    volume.error, volume.request = None, ctx.request or volume.request or ""
    subject = f"{volume.name}.{volume.project.name}"
    audit(session, ctx, caller.name, action, subject, project_id=volume.project_id, id=row.id, snapshot=row.name)
    session.flush()
    machine = session.get(Machine, volume.machine_id) if volume.machine_id else None
    if machine is not None:
        publish_machine(session, ctx, machine)
    view = _views(session, volume, [row])[0]
    if machine is not None and machine.state == State.LOST.value and row.state == SnapshotState.DELETING.value:
        session.delete(row)  # nobody can remove a file there
    touch(session, [volume.node])
    return view


def _as_seen(
    session: Session, caller: Caller, volume: Volume, rows: Sequence[VolumeSnapshot]
) -> list[VolumeSnapshotView]:
    """An auditor has nothing to press."""
    views = _views(session, volume, rows)
    if acts_in(session, caller, volume.project_id):
        return views
    return [replace(view, actions=[]) for view in views]


def _views(session: Session, volume: Volume, rows: Sequence[VolumeSnapshot]) -> list[VolumeSnapshotView]:
    owners = select(User.id, User.name).where(User.id.in_({row.created_by for row in rows}))
    people = dict(session.execute(owners).all())
    machine = session.get(Machine, volume.machine_id) if volume.machine_id else None
    still = volume.state in AT_EASE and (machine is None or _is_off(machine))
    same = ("id", "name", "state", "how", "size_gib", "held_gib", "bytes", "created_at", "made_at", "error")
    return [
        VolumeSnapshotView(
            **{field: getattr(row, field) for field in same},
            volume=volume.id,
            owner=people.get(row.created_by, ""),
            reverting=volume.revert_to == row.id,
            actions=_actions(volume, row, still=still),
        )
        for row in rows
    ]


def _actions(volume: Volume, row: VolumeSnapshot, *, still: bool) -> list[str]:
    if volume.revert_to == row.id or row.state == SnapshotState.DELETING.value:
        return []
    return ["revert", "delete"] if still and row.state == SnapshotState.READY.value else ["delete"]
