"""Machines: what people ask for. Each function is one transaction that records what is wanted; the worker makes it true."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, selectinload
from sqlalchemy.orm.attributes import set_committed_value

from garage.core import labels, late, machine_limits, names, sshkeys, tags
from garage.core.node_states import NodeState
from garage.core.placement import shortfall
from garage.core.pool import Cold
from garage.core.refusal import short
from garage.core.states import COUNTED, Event, State
from garage.core.types import Demand
from garage.db.machine_models import MachineTag
from garage.db.models import Image, Machine, Membership, Node, Project, Size, User
from garage.errors import N_, GarageError
from garage.services import addresses, adopting, capacity, images, keys, own_site, placing, pools, user_data, volumes
from garage.services.context import Caller, Context, audit, audit_each, publish_machine
from garage.services.filtering import ALL, Filter, chosen
from garage.services.rights import machine_for, project_for
from garage.services.sorting import cursor_after, ordered
from garage.services.specs import raise_specs
from garage.services.transitions import fire, fire_each
from garage.services.views import MachineView, Page, machine_view

DEFAULT_IMAGE = "debian-12"
DEFAULT_SIZE = "small"
MAX_LEASE_DAYS = 90
DAY = 86_400.0
GIB = 1 << 30
MANY = 100
"""Machines in one request."""


@dataclass(frozen=True, slots=True)
class NewMachine:
    """A request; everything but the name has a default, and an empty name gets one made."""

    name: str = ""
    project: str | None = None
    image: str = DEFAULT_IMAGE
    size: str = DEFAULT_SIZE
    lease_days: float | None = None
    user_data: str | None = None
    apart: str = ""
    node_labels: Mapping[str, Any] = field(default_factory=dict)
    """What its node must be labelled with; checked like everything else here."""
    tags: Sequence[str] = ()
    notes: str = ""
    volumes: Sequence[str] = ()
    """That it gets: it is placed where they are. Of one machine alone."""


def create(ctx: Context, caller: Caller, wanted: NewMachine) -> MachineView:
    """Check everything, reserve everything, record the machine as `preparing`. Nothing is made when anything is refused."""
    return _make(ctx, caller, wanted, [_named(ctx, wanted.name)])[0]


def create_many(ctx: Context, caller: Caller, wanted: NewMachine, count: int) -> list[MachineView]:
    """The same for `count` machines at once, named NAME-1, NAME-2, …: all of them or none."""
    if not 1 <= count <= MANY:
        raise GarageError(
            "invalid_field",
            N_("1 to {limit} machines can be asked for at once"),
            hint=N_("ask several times for more"),
            pointer="/count",
            limit=MANY,
        )
    drawn = [f"{wanted.name}-{number}" if wanted.name else "" for number in range(1, count + 1)]
    return _make(ctx, caller, wanted, [_named(ctx, name) for name in drawn])


def _named(ctx: Context, name: str) -> str:
    return names.check_label(name, field="name") if name else f"m-{ctx.rng.getrandbits(24):06x}"


def _make(ctx: Context, caller: Caller, wanted: NewMachine, named: Sequence[str]) -> list[MachineView]:
    given = wanted.user_data or None
    warnings = user_data.check(ctx, caller, wanted.image, given) if given else ()
    early = late.early(given) if given else ()
    apart, labelled = labels.check_apart(wanted.apart), labels.check(wanted.node_labels, pointer="/node_labels")
    worn, notes = tags.check(wanted.tags), tags.check_notes(wanted.notes)
    lease_until = ctx.clock() + _lease_seconds(ctx, wanted.lease_days, "/lease_days")
    own = [_of_its_own(ctx, name, given) for name in named]
    with ctx.db.write() as session:
        project = project_for(session, caller, wanted.project)
        adopting.check_none(session)
        check_names_free(session, project, named)
        image, size = images.find(session, caller, wanted.image), find_size(session, wanted.size)
        check_fits(image, size.name, size.disk_gib, "/size")
        capacity.check_quota(session, project, size, len(named))
        held = volumes.wanted_by(session, caller, project, wanted.volumes, count=len(named))
        there = held[0].node if held else ""
        order = placing.Order(project.id, image, size, labelled, apart, early, there)
        shared = {
            "project_id": project.id,
            "created_by": caller.user_id,
            "created_at": ctx.clock(),
            "lease_until": lease_until,
            "authorized_keys": keys.of_project(session, project.id),
            "apart": apart,
            "node_labels": labelled,
            "notes": notes,
        }
        machines = _placed(session, ctx, order, [shared | each for each in own])
        said = []
        for machine in machines:
            set_committed_value(machine, "project", project)
            set_committed_value(machine, "image", image)
            said.append((_subject(machine), {"id": machine.id, "size": size.name, "image": image.name}))
        session.flush()
        session.add_all(MachineTag(tag=tag, machine_id=machine.id) for machine in machines for tag in worn)
        audit_each(session, ctx, caller.name, "machine.create", project.id, said)
        volumes.give(session, ctx, caller, held, machines[0])
        return [replace(view, warnings=warnings) for view in _views(session, ctx, machines)]


def _of_its_own(ctx: Context, name: str, given: str | None) -> dict[str, Any]:
    """What no two machines share: name, host key, the user-data as it is locked."""
    private, public = sshkeys.make_host_key(ctx.rng.randbytes(32), name)
    locked = ctx.vault.lock(given.encode()) if given else None
    return {
        "name": name,
        "host_key_private": ctx.vault.lock(private),
        "host_key_public": public,
        "user_data": locked,
    }


def _placed(session: Session, ctx: Context, order: placing.Order, owned: Sequence[dict[str, Any]]) -> list[Machine]:
    """A machine for each of `owned`: one that waited where there is one, a new one elsewhere."""
    places = placing.choose(session, ctx, order, len(owned))
    versions = raise_specs(session, {place.node for place in places})
    made, cold = list[Machine](), list[tuple[str, dict[str, Any]]]()
    for place, fields in zip(places, owned, strict=True):
        spare = pools.take(session, order.image, order.size, place.node) if place.warm else None
        if spare is not None:
            made.append(_taken(session, ctx, spare, fields | {"placement": place.why}))
        else:
            cold.append((place.node, fields | {"placement": place.why}))
    if cold:
        made += _new(session, ctx, order, cold, versions)
    pools.make_room(session, ctx, versions)
    order_of = {fields["name"]: number for number, fields in enumerate(owned)}
    return sorted(made, key=lambda machine: order_of[machine.name])


def _taken(session: Session, ctx: Context, machine: Machine, owned: dict[str, Any]) -> Machine:
    """A machine that waited becomes this one: it keeps its id, its disk and its addresses; its node's spec gets its name."""
    for name, value in owned.items():
        setattr(machine, name, value)
    machine.warm, machine.taken, machine.cold_reason = False, True, ""
    fire(session, ctx, machine, Event.TAKEN)
    return machine


def _new(
    session: Session,
    ctx: Context,
    order: placing.Order,
    wanted: Sequence[tuple[str, dict[str, Any]]],
    versions: Mapping[str, int],
) -> list[Machine]:
    """Machines that boot."""
    size, now = order.size, ctx.clock()
    cold = pools.why_cold(ctx, order.image, early=bool(order.early))
    detail = ", ".join(order.early)[:200] if cold is Cold.USER_DATA else ""
    places = addresses.allot_many(session, ctx, [node for node, _ in wanted], versions)
    machines = [
        Machine(
            id=ctx.new_id(),
            image_id=order.image.id,
            state=State.REQUESTED.value,
            state_since=now,
            size=size.name,
            vcpus=size.vcpus,
            memory_mib=size.memory_mib,
            disk_gib=size.disk_gib,
            disk_limits=machine_limits.of(ctx.config.limits, size.name, {}).disk,
            cold_reason=cold.value,
            cold_detail=detail,
            **owned,
            **place,
        )
        for place, (_, owned) in zip(places, wanted, strict=True)
    ]
    session.add_all(machines)
    fire_each(session, ctx, machines, Event.PLACED)
    return machines


def listing(
    ctx: Context,
    caller: Caller,
    wanted: Filter = ALL,
    *,
    sort: str = "newest",
    cursor: str | None = None,
    limit: int = 50,
) -> Page[MachineView]:
    """The caller's machines, newest first or in another of `sorting.ORDERS`."""
    with ctx.db.read() as session:
        query = chosen(session, caller, wanted).options(selectinload(Machine.project), selectinload(Machine.image))
        rows = list(session.scalars(ordered(query, sort, cursor).limit(limit + 1)))
        more = cursor_after(rows[limit - 1], sort) if len(rows) > limit else None
        return Page(_as_seen(session, caller, _views(session, ctx, rows[:limit])), more)


def seen(ctx: Context, caller: Caller, ref: str) -> MachineView:
    """What lists tell of it: `get` for its project's members, less for an auditor."""
    with ctx.db.read() as session:
        return _as_seen(session, caller, [view_of(session, ctx, machine_for(session, caller, ref, reading=True))])[0]


def _as_seen(session: Session, caller: Caller, views: list[MachineView]) -> list[MachineView]:
    """An auditor sees of others' machines what is known about them, and neither what is inside nor anything to press."""
    if caller.admin or not caller.auditor:
        return views
    own = select(Project.name).join(Membership, Membership.project_id == Project.id)
    mine = set(session.scalars(own.where(Membership.user_id == caller.user_id)))
    return [
        view if view.project in mine else replace(view, watched=True, actions=[], console_tail="") for view in views
    ]


def get(ctx: Context, caller: Caller, ref: str) -> MachineView:
    """For whoever may act on it, and log in to it."""
    with ctx.db.read() as session:
        return view_of(session, ctx, machine_for(session, caller, ref))


def start(ctx: Context, caller: Caller, ref: str) -> MachineView:
    """stopped, suspended or failed → booting, if there is room for it again."""
    with ctx.db.write() as session:
        machine = machine_for(session, caller, ref)
        check_start(session, ctx, machine)
        machine.wants_running = True
        return _done(session, ctx, caller, machine, Event.START, "machine.start")


def check_start(session: Session, ctx: Context, machine: Machine) -> None:
    """Its lease lasts, its node is in service, and where it is off there is room for it again."""
    if machine.lease_ended_at is not None:
        raise GarageError(
            "wrong_state",
            N_("the lease of {name} has ended"),
            hint=N_("renew it first: garage machine renew {name}"),
            name=machine.name,
        )
    _check_node(session, machine)
    if State(machine.state) in (State.STOPPED, State.FAILED):
        room = capacity.room_of(session, ctx, machine.node, without=machine)
        demand = Demand(machine.vcpus, machine.memory_mib, 0)
        if shortfall(room, demand) is not None:
            raise short(room, demand, capacity.stoppable(session, machine.project_id or ""))


def _check_node(session: Session, machine: Machine) -> None:
    if session.get_one(Node, machine.node).state == NodeState.MAINTENANCE.value:
        raise GarageError(
            "wrong_state",
            N_("the node {node}, where {name} has its disk, is in maintenance"),
            hint=N_("it can start when an admin has taken the node back, or moved the machine"),
            node=machine.node,
            name=machine.name,
        )


def stop(ctx: Context, caller: Caller, ref: str) -> MachineView:
    with ctx.db.write() as session:
        machine = machine_for(session, caller, ref)
        machine.wants_running = False
        return _done(session, ctx, caller, machine, Event.STOP, "machine.stop")


def reboot(ctx: Context, caller: Caller, ref: str) -> MachineView:
    """A stop that still wants to run: the worker starts the machine again as soon as it is off."""
    with ctx.db.write() as session:
        machine = machine_for(session, caller, ref)
        machine.wants_running = True
        return _done(session, ctx, caller, machine, Event.STOP, "machine.reboot")


def delete(ctx: Context, caller: Caller, ref: str) -> MachineView:
    """Anything but gone → deleting. The address and the name are free again when the worker has removed domain and disk."""
    with ctx.db.write() as session:
        machine = machine_for(session, caller, ref)
        machine.wants_running = False
        return _done(session, ctx, caller, machine, Event.DELETE, "machine.delete")


def renew(ctx: Context, caller: Caller, ref: str, *, days: float | None = None) -> MachineView:
    """The lease ends `days` from now (default: the garage's lease), never earlier than before."""
    with ctx.db.write() as session:
        machine = machine_for(session, caller, ref)
        if machine.state in (State.DELETING.value, State.GONE.value):
            raise GarageError(
                "wrong_state",
                N_("{name} is {state}; its lease cannot be renewed"),
                hint=N_("make a new one: garage machine create"),
                name=machine.name,
                state=machine.state,
            )
        machine.lease_until = max(machine.lease_until, ctx.clock() + _lease_seconds(ctx, days, "/days"))
        machine.lease_warned, machine.lease_ended_at = False, None
        publish_machine(session, ctx, machine)
        audit(
            session,
            ctx,
            caller.name,
            "machine.renew",
            _subject(machine),
            project_id=machine.project_id,
            until=machine.lease_until,
        )
        return view_of(session, ctx, machine)


def _done(session: Session, ctx: Context, caller: Caller, machine: Machine, event: Event, action: str) -> MachineView:
    fire(session, ctx, machine, event)
    audit(session, ctx, caller.name, action, _subject(machine), project_id=machine.project_id, id=machine.id)
    session.flush()
    return view_of(session, ctx, machine)


def _subject(machine: Machine) -> str:
    return f"{machine.name}.{machine.project.name}"


def _lease_seconds(ctx: Context, days: float | None, pointer: str) -> float:
    if days is None:
        return ctx.config.lease_days * DAY
    if not 0 < days <= MAX_LEASE_DAYS:
        raise GarageError(
            "invalid_field",
            N_("a lease is at most {limit} days"),
            hint=N_("renew it with one click when it ends"),
            pointer=pointer,
            limit=MAX_LEASE_DAYS,
        )
    return days * DAY


def check_names_free(session: Session, project: Project, named: Sequence[str]) -> None:
    query = select(Machine.name, Machine.state).where(
        Machine.project_id == project.id, Machine.name.in_(named), capacity.EXISTS
    )
    taken = dict(session.execute(query).all())
    if name := next((name for name in named if name in taken), ""):
        hint = (
            N_("take another name, or wait until it is deleted")
            if taken[name] == State.DELETING.value
            else N_("take another name, or delete that one first")
        )
        raise GarageError(
            "already_exists",
            N_("{project} has a machine named {name} already"),
            hint=hint,
            pointer="/name",
            project=project.name,
            name=name,
        )


def check_fits(image: Image, size: str, disk_gib: int, pointer: str) -> None:
    """A machine's disk is never smaller than its image's: what it counts for is what it takes."""
    needed = -(-int(image.manifest.get("virtual_bytes", 0)) // GIB)
    if needed > disk_gib:
        raise GarageError(
            "invalid_field",
            N_("the image {image} needs a disk of {needed} GiB; size {size} has {has}"),
            hint=N_("take a larger size"),
            pointer=pointer,
            image=image.name,
            needed=needed,
            size=size,
            has=disk_gib,
        )


def find_size(session: Session, name: str) -> Size:
    if size := session.get(Size, name):
        return size
    have = ", ".join(session.scalars(select(Size.name).order_by(Size.memory_mib)))
    raise GarageError(
        "invalid_field",
        N_("there is no size {name}"),
        hint=N_("there are: {have}"),
        pointer="/size",
        name=name[:64],
        have=have or "-",
    )


def _views(session: Session, ctx: Context, machines: Iterable[Machine]) -> list[MachineView]:
    machines = list(machines)
    users = select(User.id, User.name).where(User.id.in_({m.created_by for m in machines}))
    owners = dict(session.execute(users).all())
    worn: dict[str, list[str]] = {}
    ids = [m.id for m in machines]
    for machine_id, tag in session.execute(
        select(MachineTag.machine_id, MachineTag.tag).where(MachineTag.machine_id.in_(ids)).order_by(MachineTag.tag)
    ):
        worn.setdefault(machine_id, []).append(tag)
    nodes = {node.name: node for node in session.scalars(select(Node).where(Node.name.in_({m.node for m in machines})))}
    domain = own_site.current(session, ctx).site_domain
    return [
        machine_view(
            ctx.config,
            m,
            owner=owners.get(m.created_by or "", ""),
            node_error=nodes[m.node].hypervisor_error,
            node_state=nodes[m.node].state,
            virtualisation=nodes[m.node].facts.get("virtualisation", ""),
            site_domain=domain,
            tags=worn.get(m.id, []),
        )
        for m in machines
    ]


def view_of(session: Session, ctx: Context, machine: Machine) -> MachineView:
    """With its project and image loaded."""
    return _views(session, ctx, [machine])[0]


def counts(ctx: Context) -> dict[str, int]:
    """How many machines are in each state that exists, for metrics."""
    with ctx.db.read() as session:
        query = (
            select(Machine.state, func.count())
            .where(Machine.state.in_([s.value for s in COUNTED]))
            .group_by(Machine.state)
        )
        return dict(session.execute(query).all())
