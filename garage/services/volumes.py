"""Volumes as people ask for them: made, attached, detached, enlarged, deleted. Their node's worker does it (`volume_notes`).

A volume stays on its node, and keeps a machine that has it there. It belongs to the project whose quota it takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from garage.core import names
from garage.core.placement import shortfall
from garage.core.refusal import short
from garage.core.states import State
from garage.core.types import Demand
from garage.core.volumes import HELD, LIMIT, MOST_GIB, VolumeState, by_id, free_slot
from garage.db.models import Machine, Node, Project, User
from garage.db.revisions import touch
from garage.db.volume_models import Volume
from garage.errors import N_, GarageError
from garage.services import capacity, moving
from garage.services.context import Caller, Context, audit, publish_machine
from garage.services.rights import acts_in, machine_for, project_for, readable, visible
from garage.services.views import Page

RESTS = (State.READY.value, State.STOPPED.value, State.FAILED.value)
"""States of a machine in which a disk can come and go."""
AT_EASE = (VolumeState.AVAILABLE.value, VolumeState.ATTACHED.value)


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
    """What may be done now: of "attach", "detach", "grow", "delete"."""


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
    _check_size(wanted.size_gib, 1)
    with ctx.db.write() as session:
        machine = machine_for(session, caller, wanted.machine) if wanted.machine else None
        project = _project(session, caller, wanted.project, machine)
        _check_free(session, project, name)
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
        return Page(_as_seen(session, caller, rows[:limit]), rows[limit - 1].id if len(rows) > limit else None)


def get(ctx: Context, caller: Caller, ref: str) -> VolumeView:
    with ctx.db.read() as session:
        return _as_seen(session, caller, [find(session, caller, ref, reading=True)])[0]


def attach(ctx: Context, caller: Caller, ref: str, machine_ref: str) -> VolumeView:
    """To a machine of its project on its node, that is ready or off; one that is being detached from the same machine stays there."""
    with ctx.db.write() as session:
        row, machine = find(session, caller, ref), _machine(session, caller, machine_ref)
        back = row.state == VolumeState.DETACHING.value and row.machine_id == machine.id
        if row.state != VolumeState.AVAILABLE.value and not back:
            raise _wrong(
                session, row, N_("wait until it is available, or detach it first: garage volume detach {name}")
            )
        check_may_have(row, machine)
        if not back:
            _give(session, row, machine)
        row.state = VolumeState.ATTACHING.value
        return _done(session, ctx, caller, row, "volume.attach", machine=machine.name)


def detach(ctx: Context, caller: Caller, ref: str) -> VolumeView:
    """From a machine that is ready or off. One that is mounted in a guest stays attached, and says so."""
    with ctx.db.write() as session:
        row = find(session, caller, ref)
        if row.machine_id is None or row.state not in (VolumeState.ATTACHED.value, VolumeState.ATTACHING.value):
            raise _wrong(session, row, N_("only an attached volume can be detached"))
        machine = session.get_one(Machine, row.machine_id)
        row.state = VolumeState.DETACHING.value
        if machine.state == State.LOST.value:  # nobody can ask there
            row.state, row.machine_id, row.slot = VolumeState.AVAILABLE.value, None, None
        else:
            _check_rests(machine)
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
    if row.state != VolumeState.AVAILABLE.value:
        raise _wrong(session, row, N_("wait until it is available, or detach it first: garage volume detach {name}"))
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
        _check_size(size_gib, row.size_gib)
        if row.state not in AT_EASE:
            raise _wrong(session, row, N_("wait until it is available or attached"))
        if row.machine_id:
            _check_rests(session.get_one(Machine, row.machine_id))
        more = size_gib - row.size_gib
        capacity.check_growth(session, row.project, {"disk_gib": more})
        _check_room(session, ctx, row.node, more)
        row.size_gib = size_gib
        return _done(session, ctx, caller, row, "volume.grow", gib=size_gib)


def delete(ctx: Context, caller: Caller, ref: str) -> VolumeView:
    """With all that is on it. Raises `in_use` while a machine has it."""
    with ctx.db.write() as session:
        row = find(session, caller, ref)
        if row.machine_id is not None and session.get_one(Machine, row.machine_id).state != State.LOST.value:
            raise _in_use(session, row)
        row.machine_id = row.slot = None
        return _end(session, ctx, caller, row)


def end_all(session: Session, ctx: Context, caller: Caller, project: Project) -> int:
    """All of a project whose machines are being deleted: each goes as soon as its machine has let go of it. Returns how many."""
    rows = list(session.scalars(select(Volume).where(Volume.project_id == project.id)))
    for row in rows:
        if row.state != VolumeState.DELETING.value:
            _end(session, ctx, caller, row)
    return len(rows)


def any_of(session: Session, project: Project) -> bool:
    return session.scalar(select(Volume.id).where(Volume.project_id == project.id).limit(1)) is not None


def holding(session: Session, machines: Iterable[Machine]) -> dict[str, GarageError]:
    """By id, why machines cannot leave their node, if that is because of their volumes."""
    named = {machine.id: machine.name for machine in machines}
    query = select(Machine.id, func.count()).join(Volume, Volume.machine_id == Machine.id).where(Machine.id.in_(named))
    return {
        machine_id: GarageError(
            "in_use",
            N_("{name} has {count} volumes, which lie on its node"),
            hint=N_("it can move when its owner has detached them: garage volume detach"),
            name=named[machine_id],
            count=count,
        )
        for machine_id, count in session.execute(query.group_by(Machine.id))
    }


def check_none_attached(session: Session, machine: Machine) -> None:
    """Raises `in_use` before a machine goes where its volumes do not."""
    name = session.scalar(select(Volume.name).where(Volume.machine_id == machine.id).order_by(Volume.slot).limit(1))
    if name is not None:
        raise GarageError(
            "in_use",
            N_("{machine} has the volume {volume}, which belongs to the project {project}"),
            hint=N_("detach it first: garage volume detach {volume}"),
            machine=machine.name,
            volume=name,
            project=machine.project.name,
        )


def find(session: Session, caller: Caller, ref: str, *, reading: bool = False) -> Volume:
    """The volume with the id `ref`, or named NAME or NAME.PROJECT among those that the caller sees; for an auditor `reading` alone."""
    query = select(Volume).join(Volume.project).options(joinedload(Volume.project))
    query = query.where((readable if reading else visible)(caller, Volume.project_id))
    if found := session.scalars(query.where(Volume.id == ref)).first():
        return found
    name, _, project = ref.partition(".")
    query = query.where(Volume.name == name)
    candidates = list(session.scalars(query.where(Project.name == project) if project else query.limit(20)))
    own = [row for row in candidates if row.project.personal_of == caller.user_id]
    if len(found_all := own or candidates) == 1:
        return found_all[0]
    if candidates:
        raise GarageError(
            "not_found",
            N_("{name} exists in several projects"),
            hint=N_("write NAME.PROJECT, e.g. {example}"),
            name=name[:64],
            example=f"{name}.{candidates[0].project.name}",
        )
    raise GarageError(
        "not_found", N_("there is no volume {name}"), hint=N_("“garage volume list” shows yours"), name=ref[:64]
    )


def check_may_have(row: Volume, machine: Machine) -> None:
    """Raises where the machine is of another project or on another node, on its way, or neither ready nor off."""
    _check_same(row, machine)
    moving.check_stays(machine)
    _check_rests(machine)
    if row.node != machine.node:
        raise GarageError(
            "wrong_state",
            N_("the volume {volume} is on {node}, and {machine} on {other}"),
            hint=N_("make one beside it: garage volume create NAME --size GIB --machine {machine}"),
            volume=row.name,
            node=row.node,
            machine=machine.name,
            other=machine.node,
        )


def _check_same(row: Volume, machine: Machine) -> None:
    if row.project_id != machine.project_id:
        raise GarageError(
            "invalid_field",
            N_("{machine} is not of the project {project}, to which the volume belongs"),
            hint=N_("take a machine of that project"),
            pointer="/machine",
            machine=machine.name,
            project=row.project.name,
        )


def _check_rests(machine: Machine) -> None:
    if machine.state not in RESTS:
        raise GarageError(
            "wrong_state",
            N_("{name} is {state}; its volumes can be changed while it is ready or off"),
            hint=N_("wait until it is one of them"),
            name=machine.name,
            state=machine.state,
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
    if ref is not None and project_for(session, caller, ref).id != machine.project_id:
        raise GarageError(
            "invalid_field",
            N_("{machine} is not of the project {project}, to which the volume belongs"),
            hint=N_("take a machine of that project"),
            pointer="/machine",
            machine=machine.name,
            project=ref[:64],
        )
    moving.check_stays(machine)
    _check_rests(machine)
    return machine.project


def _check_size(size_gib: int, least: int) -> None:
    if not least <= size_gib <= MOST_GIB:
        raise GarageError(
            "invalid_field",
            N_("a volume has {least} to {most} GiB"),
            hint=N_("it can grow later, and never shrinks"),
            pointer="/size_gib",
            least=least,
            most=MOST_GIB,
        )


def _check_free(session: Session, project: Project, name: str) -> None:
    if session.scalar(select(Volume.id).where(Volume.project_id == project.id, Volume.name == name)):
        raise GarageError(
            "already_exists",
            N_("{project} has a volume named {name} already"),
            hint=N_("take another name, or delete that one first"),
            pointer="/name",
            project=project.name,
            name=name,
        )


def _place(session: Session, ctx: Context, size_gib: int, machine: Machine | None) -> str:
    """Its machine's node; without one the node that takes machines and has most disk free, by what is promised already."""
    if machine is not None:
        _check_room(session, ctx, machine.node, size_gib)
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


def _check_room(session: Session, ctx: Context, node: str, more_gib: int) -> None:
    room, demand = capacity.room_of(session, ctx, node), Demand(0, 0, more_gib)
    if more_gib and shortfall(room, demand) is not None:
        raise short(room, demand)


def _wrong(session: Session, row: Volume, hint: str) -> GarageError:
    if row.machine_id is not None and row.state in HELD:
        return _in_use(session, row)
    text = N_("the volume {name} is {state}")
    return GarageError("wrong_state", text, hint=hint, name=row.name, state=row.state)


def _in_use(session: Session, row: Volume) -> GarageError:
    return GarageError(
        "in_use",
        N_("{machine} has the volume {name}"),
        hint=N_("detach it first: garage volume detach {name}"),
        machine=session.get_one(Machine, row.machine_id).name,
        name=row.name,
    )


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
    return _views(session, [row])[0]


def _as_seen(session: Session, caller: Caller, rows: Sequence[Volume]) -> list[VolumeView]:
    """An auditor has nothing to press."""
    mine = {project: acts_in(session, caller, project) for project in {row.project_id for row in rows}}
    return [
        view if mine[row.project_id] else replace(view, actions=[])
        for row, view in zip(rows, _views(session, rows), strict=True)
    ]


def _views(session: Session, rows: Sequence[Volume]) -> list[VolumeView]:
    owners = select(User.id, User.name).where(User.id.in_({row.created_by for row in rows}))
    people = dict(session.execute(owners).all())
    with_them = select(Machine.id, Machine.name, Machine.state).where(Machine.id.in_({row.machine_id for row in rows}))
    machines = {machine_id: (name, state) for machine_id, name, state in session.execute(with_them)}
    same = ("id", "name", "state", "node", "size_gib", "made_gib", "machine_id", "created_at", "error")
    return [
        VolumeView(
            **{field: getattr(row, field) for field in same},
            project=row.project.name,
            owner=people.get(row.created_by, ""),
            machine=machines[row.machine_id][0] if row.machine_id in machines else None,
            path=by_id(row.id),
            actions=_actions(row, machines[row.machine_id][1] if row.machine_id in machines else ""),
        )
        for row in rows
    ]


def _actions(row: Volume, machine_state: str) -> list[str]:
    match VolumeState(row.state):
        case VolumeState.AVAILABLE:
            return ["attach", "grow", "delete"]
        case VolumeState.ATTACHING | VolumeState.ATTACHED if machine_state == State.LOST.value:
            return ["detach", "delete"]
        case VolumeState.ATTACHED if machine_state in RESTS:
            return ["detach", "grow"]
        case VolumeState.ATTACHING if machine_state in RESTS:
            return ["detach"]
        case VolumeState.MAKING | VolumeState.FAILED if row.machine_id is None:
            return ["delete"]
        case _:
            return []


def forget_node(session: Session, node: str) -> None:
    """Its node is none any more: what was to be deleted there is gone with it."""
    for row in session.scalars(select(Volume).where(Volume.node == node)):
        session.delete(row)
    session.flush()


def check_none_on(session: Session, node: Node) -> None:
    """Raises `in_use` while a node has volumes that nobody has deleted."""
    where = Volume.node == node.name, Volume.state != VolumeState.DELETING.value
    if count := session.scalar(select(func.count()).where(*where)):
        raise GarageError(
            "in_use",
            N_("{node} has {count} volumes"),
            hint=N_("their owners can delete them: garage volume delete"),
            node=node.name,
            count=count,
        )
