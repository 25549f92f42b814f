"""Volumes as people ask for them: made, attached, detached, enlarged, deleted. Their node's worker does it (`volume_notes`).

A volume stays on its node, and keeps a machine that has it there. It belongs to the project whose quota it takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from garage.core import names
from garage.core.placement import shortfall
from garage.core.refusal import short
from garage.core.states import State
from garage.core.types import Demand
from garage.core.volumes import HELD, LIMIT, VolumeState, free_slot
from garage.db.models import Machine, Project
from garage.db.revisions import touch
from garage.db.volume_models import Volume
from garage.errors import N_, GarageError
from garage.services import capacity, moving
from garage.services import volume_rules as rules
from garage.services.context import Caller, Context, audit, publish_machine
from garage.services.rights import machine_for, project_for, readable, the_one, visible
from garage.services.views import Page
from garage.services.volume_views import AT_EASE, VolumeView, as_seen, views


@dataclass(frozen=True, slots=True)
class NewVolume:
    name: str
    size_gib: int
    project: str | None = None
    machine: str | None = None
    """That gets it as soon as it is made."""


def create(ctx: Context, caller: Caller, wanted: NewVolume) -> VolumeView:
    """An empty one, on the node of `machine`, or where most disk is free. Raises `quota_exceeded`, `disk_full`, `already_exists`."""
    name = names.check_label(wanted.name, field="name")
    rules.check_size(wanted.size_gib, 1)
    with ctx.db.write() as session:
        machine = machine_for(session, caller, wanted.machine) if wanted.machine else None
        project = _project(session, caller, wanted.project, machine)
        rules.check_free(session, project, name)
        capacity.check_growth(session, project, {"disk_gib": wanted.size_gib})
        row = Volume(
            id=ctx.new_id(),
            project_id=project.id,
            project=project,
            name=name,
            state=VolumeState.MAKING.value,
            node=_place(session, ctx, wanted.size_gib, machine),
            size_gib=wanted.size_gib,
            created_by=caller.user_id,
            created_at=ctx.clock(),
        )
        if machine is not None:
            _give(session, row, machine)
        session.add(row)
        return _done(session, ctx, caller, row, "volume.create", gib=row.size_gib)


def listing(
    ctx: Context,
    caller: Caller,
    *,
    project: str | None = None,
    machine: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[VolumeView]:
    """The caller's volumes, the newest first."""
    with ctx.db.read() as session:
        query = select(Volume).options(joinedload(Volume.project)).where(readable(caller, Volume.project_id))
        if project:
            query = query.where(Volume.project_id == project_for(session, caller, project, reading=True).id)
        if machine:
            query = query.where(Volume.machine_id == machine_for(session, caller, machine, reading=True).id)
        if cursor:
            query = query.where(Volume.id < cursor)
        rows = list(session.scalars(query.order_by(Volume.id.desc()).limit(limit + 1)))
        return Page(as_seen(session, caller, rows[:limit]), rows[limit - 1].id if len(rows) > limit else None)


def get(ctx: Context, caller: Caller, ref: str) -> VolumeView:
    with ctx.db.read() as session:
        return as_seen(session, caller, [find(session, caller, ref, reading=True)])[0]


def attach(ctx: Context, caller: Caller, ref: str, machine_ref: str) -> VolumeView:
    """To a machine of its project on its node, that is ready or off; one that is being detached from the same machine stays there."""
    with ctx.db.write() as session:
        row, machine = find(session, caller, ref), _machine(session, caller, machine_ref)
        back = row.state == VolumeState.DETACHING.value and row.machine_id == machine.id
        if not back:
            rules.check_available(session, row)
        rules.check_may_have(row, machine)
        if not back:
            _give(session, row, machine)
        row.state = VolumeState.ATTACHING.value
        return _done(session, ctx, caller, row, "volume.attach", machine=machine.name)


def detach(ctx: Context, caller: Caller, ref: str) -> VolumeView:
    """From a machine that is ready or off. One that is mounted in a guest stays attached, and says so."""
    with ctx.db.write() as session:
        row = find(session, caller, ref)
        machine = session.get(Machine, row.machine_id) if row.machine_id else None
        lost = machine is not None and machine.state == State.LOST.value
        if machine is None or not (row.state in HELD or (lost and row.state == VolumeState.REVERTING.value)):
            raise rules.wrong(session, row, N_("only an attached volume can be detached"))
        row.state = VolumeState.DETACHING.value
        if lost:  # nobody can ask there
            row.state, row.machine_id, row.slot, row.revert_to = VolumeState.AVAILABLE.value, None, None, ""
        else:
            rules.check_rests(machine)
        return _done(session, ctx, caller, row, "volume.detach", machine=machine.name)


def wanted_by(
    session: Session, caller: Caller, project: Project, refs: Sequence[str], *, count: int = 1
) -> list[Volume]:
    """Those that a new machine of the project is to get: available, and all on one node. Of several machines none can get any."""
    if len(refs) > LIMIT or (refs and count > 1):
        raise GarageError(
            "invalid_field",
            N_("one machine can be given up to {limit} volumes, several at once none"),
            hint=N_("make them one by one, or attach volumes later: garage volume attach"),
            pointer="/volumes",
            limit=LIMIT,
        )
    rows = {row.id: row for row in (_for_new(session, caller, project, ref) for ref in refs)}
    if len({row.node for row in rows.values()}) > 1:
        raise GarageError(
            "invalid_field",
            N_("these volumes are on several servers: {places}"),
            hint=N_("a machine can have those that are on its own server"),
            pointer="/volumes",
            places=", ".join(f"{row.name}: {row.node}" for row in rows.values()),
        )
    return list(rows.values())


def _for_new(session: Session, caller: Caller, project: Project, ref: str) -> Volume:
    row = find(session, caller, ref)
    rules.check_available(session, row)
    if row.project_id != project.id:
        raise GarageError(
            "invalid_field",
            N_("the volume {volume} is not of the project {project}"),
            hint=N_("a machine can have volumes of its own project"),
            pointer="/volumes",
            volume=row.name,
            project=project.name,
        )
    return row


def give(session: Session, ctx: Context, caller: Caller, rows: Sequence[Volume], machine: Machine) -> None:
    """To a new machine, which has none."""
    for slot, row in enumerate(rows):
        row.machine_id, row.slot, row.state = machine.id, slot, VolumeState.ATTACHING.value
        _done(session, ctx, caller, row, "volume.attach", machine=machine.name)


def grow(ctx: Context, caller: Caller, ref: str, size_gib: int) -> VolumeView:
    """Also while a guest uses it; its file system is the guest's affair. It never shrinks."""
    with ctx.db.write() as session:
        row = find(session, caller, ref)
        rules.check_size(size_gib, row.size_gib)
        if row.state not in AT_EASE:
            raise rules.wrong(session, row, N_("wait until it is available or attached"))
        rules.check_not_copied(session, row)
        if row.machine_id:
            rules.check_rests(session.get_one(Machine, row.machine_id))
        more = size_gib - row.size_gib
        capacity.check_growth(session, row.project, {"disk_gib": more})
        rules.check_room(session, ctx, row.node, more)
        row.size_gib = size_gib
        return _done(session, ctx, caller, row, "volume.grow", gib=size_gib)


def delete(ctx: Context, caller: Caller, ref: str) -> VolumeView:
    """With all that is on it, and its snapshots. Raises `in_use` while a machine has it."""
    with ctx.db.write() as session:
        row = find(session, caller, ref)
        if row.machine_id is not None and session.get_one(Machine, row.machine_id).state != State.LOST.value:
            raise rules.in_use(session, row)
        row.machine_id = row.slot = None
        return _end(session, ctx, caller, row)


def end_all(session: Session, ctx: Context, caller: Caller, project: Project) -> int:
    """All of a project whose machines are being deleted: each goes as soon as its machine has let go of it. Returns how many."""
    rows = list(session.scalars(select(Volume).where(Volume.project_id == project.id)))
    for row in rows:
        if row.state != VolumeState.DELETING.value:
            _end(session, ctx, caller, row)
    return len(rows)


def find(session: Session, caller: Caller, ref: str, *, reading: bool = False) -> Volume:
    """The volume with the id `ref`, or named NAME or NAME.PROJECT among those that the caller sees; for an auditor `reading` alone."""
    query = select(Volume).join(Volume.project).options(joinedload(Volume.project))
    query = query.where((readable if reading else visible)(caller, Volume.project_id))
    if found := session.scalars(query.where(Volume.id == ref)).first():
        return found
    name, _, project = ref.partition(".")
    query = query.where(Volume.name == name)
    candidates = list(session.scalars(query.where(Project.name == project) if project else query.limit(20)))
    if volume := the_one(caller, candidates):
        return volume
    raise GarageError(
        "not_found", N_("there is no volume {name}"), hint=N_("“garage volume list” shows yours"), name=ref[:64]
    )


def _machine(session: Session, caller: Caller, ref: str) -> Machine:
    try:
        return machine_for(session, caller, ref)
    except GarageError as error:
        error.pointer = "/machine"
        raise


def _give(session: Session, row: Volume, machine: Machine) -> None:
    taken = session.scalars(select(Volume.slot).where(Volume.machine_id == machine.id)).all()
    slot = free_slot(slot for slot in taken if slot is not None)
    if slot is None:
        raise GarageError(
            "quota_exceeded",
            N_("{machine} has {limit} volumes, as many as a machine can have"),
            hint=N_("detach one that you no longer need there"),
            machine=machine.name,
            limit=LIMIT,
        )
    row.machine_id, row.slot = machine.id, slot


def _project(session: Session, caller: Caller, ref: str | None, machine: Machine | None) -> Project:
    if machine is None:
        return project_for(session, caller, ref)
    if ref is not None:
        rules.check_same(project_for(session, caller, ref), machine)
    moving.check_stays(machine)
    rules.check_rests(machine)
    return machine.project


def _place(session: Session, ctx: Context, size_gib: int, machine: Machine | None) -> str:
    """Its machine's node; without one the node that takes machines and has most disk free, by what is promised already."""
    if machine is not None:
        rules.check_room(session, ctx, machine.node, size_gib)
        return machine.node
    rooms = [room for room in capacity.rooms(session, ctx) if room.state == "active" and not room.silent]
    if not rooms:
        raise GarageError(
            "unavailable",
            N_("no server takes volumes at the moment"),
            hint=N_("“garage node list” shows them; ask an admin when one is back"),
        )
    best = max(rooms, key=lambda room: (not room.disk_blocked, room.free_disk_gib, room.facts.disk_free_gib))
    demand = Demand(0, 0, size_gib)
    if shortfall(best, demand) is not None:
        raise short(best, demand)
    return best.name


def _end(session: Session, ctx: Context, caller: Caller, row: Volume) -> VolumeView:
    row.state = VolumeState.DELETING.value
    return _done(session, ctx, caller, row, "volume.delete")


def _done(session: Session, ctx: Context, caller: Caller, row: Volume, action: str, **detail: Any) -> VolumeView:
    """Told to whoever watches its machine, to its worker, and to the log."""
    row.error, row.request = None, ctx.request or row.request or ""
    subject = f"{row.name}.{row.project.name}"
    audit(session, ctx, caller.name, action, subject, project_id=row.project_id, id=row.id, **detail)
    session.flush()
    if row.machine_id is not None:
        publish_machine(session, ctx, session.get_one(Machine, row.machine_id))
    touch(session, [row.node])
    return views(session, [row])[0]
