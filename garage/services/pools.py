"""Pools: machines that are booted in advance and belong to nobody, until a request takes one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from garage.config import Config
from garage.core import machine_limits, pool
from garage.core.placement import Room
from garage.core.pool import Cold, Kind, Share, Spare, Want
from garage.core.states import Event, State
from garage.db.models import Image, Machine, Node, Size
from garage.db.node_models import NodeLoad
from garage.services import addresses, adopting, capacity, ceilings, demand
from garage.services.context import Context
from garage.services.placing import SPARE, of_kind
from garage.services.transitions import fire
from garage.services.work import Hold, held

QUIET = 30.0
"""Seconds after a request in which no machine is made in advance: who asked is about to log in, and a burst goes on."""
STARTING = (State.PREPARING.value, State.BOOTING.value)
FOREVER = 4_000_000_000.0
"""A pool machine has no lease."""


def take(session: Session, image: Image, size: Size, node: str) -> Machine | None:
    """The oldest machine of exactly the kind that waits on the node, still a pool machine; None when somebody else took it meanwhile."""
    query = select(Machine).where(*of_kind(image, size), Machine.node == node).order_by(Machine.id).limit(1)
    return session.scalars(query.with_for_update(skip_locked=True)).first()


def waiting(session: Session, config: Config, image: str, size: str) -> int:
    """How many of a kind a request would find now: on nodes that may still promise their vCPUs (their memory waits with them)."""
    query = select(func.count()).select_from(Machine).join(Image, Image.id == Machine.image_id)
    query = query.join(NodeLoad, NodeLoad.node == Machine.node).where(NodeLoad.takes)
    query = query.where(NodeLoad.used_vcpus + Machine.vcpus <= NodeLoad.vcpus * config.vcpu_overcommit)
    query = query.where(NodeLoad.disk_free_gib >= config.disk_reserve_mib / 1024)
    query = query.where(Machine.state == State.SPARE.value, Machine.warm, Image.name == image, Image.current)
    return session.scalar(query.where(Machine.size == size)) or 0


def why_cold(ctx: Context, image: Image, *, early: bool) -> Cold:
    """Why a request that took no pool machine did not."""
    if not ctx.config.pool_ram_share:
        return Cold.OFF
    if not demand.may_wait(image):
        return Cold.IMAGE
    return Cold.USER_DATA if early else Cold.EMPTY


def make_room(session: Session, ctx: Context, nodes: Collection[str]) -> None:
    """Machines that run always win: end pool machines, the youngest first, until what is left fits beside them."""
    here: dict[str, list[Machine]] = {}
    for machine in session.scalars(select(Machine).where(SPARE, Machine.node.in_(sorted(nodes))).order_by(Machine.id)):
        here.setdefault(machine.node, []).append(machine)
    for node, waiting in here.items():
        room = capacity.room_of(session, ctx, node)
        free = room.facts.memory_mib - room.ram_reserve_mib - room.used.memory_mib
        for machine in waiting:
            if machine.memory_mib <= free:
                free -= machine.memory_mib
            else:
                _end(session, ctx, machine)


def any_to_tend(ctx: Context) -> bool:
    """Whether `tend` may have anything to do on any node: pools are on, or what is left of them waits."""
    if ctx.config.pool_ram_share:
        return True
    with ctx.db.read() as session:
        return session.scalar(select(Machine.id).where(Machine.state == State.SPARE.value).limit(1)) is not None


def tend(ctx: Context, hold: Hold, wants: Sequence[Want] | None = None) -> int:
    """Bring the pools of the hold's node nearer to what they should be; returns how many machines were made or ended. `wants` is
    `demand.wants` of a moment ago, where many nodes are tended to.

    One is made at a time, and none while somebody waits for a machine of theirs.
    """
    with ctx.db.read() as session:
        if adopting.waits(session, hold.node):
            return 0
        spares = _spares(session, hold.node)
        wanted = wanted_on(session, ctx, hold.node, demand.wants(session, ctx) if wants is None else wants)
        ending = pool.surplus(spares, wanted, ctx.clock(), max_age=ctx.config.pool_max_age_hours * pool.HOUR)
        missing = pool.missing(spares, wanted, ending)
        making = any(not spare.warm for spare in spares)
        node = session.get_one(Node, hold.node)
        idle = (
            not making
            and node.applied_version >= node.spec_version
            and not _somebody_waits(session, hold.node, ctx.clock())
        )
    if not ending and not (missing and idle):
        return 0
    with ctx.db.write() as session:
        held(session, hold)
        for machine in session.scalars(select(Machine).where(Machine.id.in_(ending))):
            if machine.state == State.SPARE.value:
                _end(session, ctx, machine)
        made = [make(session, ctx, hold.node, kind) for kind in missing[:1] if idle]
    return len(ending) + len(made)


def _end(session: Session, ctx: Context, machine: Machine) -> None:
    machine.wants_running = machine.warm = False
    fire(session, ctx, machine, Event.AGED)


def _somebody_waits(session: Session, node: str, now: float) -> bool:
    lately = Machine.created_at > now - QUIET
    query = select(Machine.id).where(Machine.node == node, Machine.project_id.is_not(None))
    return session.scalar(query.where(or_(Machine.state.in_(STARTING), lately)).limit(1)) is not None


def _spares(session: Session, node: str) -> list[Spare]:
    """One of an older image, or of a size that has been changed since, is of no kind that anybody could ask for."""
    query = select(Machine, Image.sha256, Image.current, Size).join(Image, Image.id == Machine.image_id)
    query = query.outerjoin(Size, Size.name == Machine.size)
    query = query.where(Machine.node == node, Machine.state == State.SPARE.value)
    return [
        Spare(
            machine.id,
            Kind(sha256 if current and _as_asked_for(machine, size) else "", machine.size),
            machine.created_at,
            machine.warm,
        )
        for machine, sha256, current, size in session.execute(query)
    ]


def _as_asked_for(machine: Machine, size: Size | None) -> bool:
    has = machine.vcpus, machine.memory_mib, machine.disk_gib
    return size is not None and has == (size.vcpus, size.memory_mib, size.disk_gib)


def wanted_on(session: Session, ctx: Context, node: str, wants: Sequence[Want]) -> dict[Kind, int]:
    """What of the site's demand should wait on `node` now; nothing where no machines are taken on, or pools are off."""
    share = _share(session, node)
    if share is None or not ctx.config.pool_ram_share:
        return {}
    return _goals(ctx, capacity.room_of(session, ctx, node), share, _held(session, node), wants)


def wanted_in_all(session: Session, ctx: Context, wants: Sequence[Want]) -> dict[Kind, int]:
    """The sum of that over all nodes, in as many queries as one takes."""
    takes = set(session.scalars(select(NodeLoad.node).where(NodeLoad.takes)))
    rooms = [room for room in capacity.every_room(session, ctx) if room.name in takes] if wants else []
    held_ = select(Machine.node, func.sum(Machine.disk_gib)).where(Machine.state == State.SPARE.value)
    disks = dict(session.execute(held_.group_by(Machine.node)).all())
    total: Counter[Kind] = Counter()
    for number, room in enumerate(rooms if ctx.config.pool_ram_share else ()):
        total.update(_goals(ctx, room, Share(number, len(rooms)), disks.get(room.name, 0), wants))
    return total


def _goals(ctx: Context, room: Room, share: Share, held_gib: int, wants: Sequence[Want]) -> dict[Kind, int]:
    """`held_gib`: of the disk, by machines that wait there already."""
    if room.disk_blocked:
        return {}
    part, usable = ctx.config.pool_ram_share, room.facts.memory_mib - room.ram_reserve_mib
    memory = min(int(part * usable), room.free_memory_mib)
    return pool.targets(wants, share, memory_mib=memory, disk_gib=int(part * (room.free_disk_gib + held_gib)))


def _share(session: Session, node: str) -> Share | None:
    """The node's part of the demand; None for one that takes no new machines, so that none should wait there."""
    takes = NodeLoad.takes.is_(True)
    if session.scalar(select(NodeLoad.node).where(NodeLoad.node == node, takes)) is None:
        return None
    before, of = (session.scalar(select(func.count()).where(takes, *c)) or 0 for c in ((NodeLoad.node < node,), ()))
    return Share(before, of)


def _held(session: Session, node: str) -> int:
    query = select(Machine.disk_gib).where(Machine.node == node, Machine.state == State.SPARE.value)
    return sum(session.scalars(query))


def make(session: Session, ctx: Context, node_name: str, kind: Kind) -> Machine:
    """One more that boots in advance."""
    image = session.scalars(select(Image).where(Image.sha256 == kind.image)).one()
    size, place = session.get_one(Size, kind.size), addresses.allot(session, ctx, node_name)
    now = ctx.clock()
    machine = Machine(
        id=ctx.new_id(),
        name=f"spare-{place['number']}",
        state=State.SPARE.value,
        state_since=now,
        created_at=now,
        lease_until=FOREVER,
        image_id=image.id,
        size=size.name,
        vcpus=size.vcpus,
        memory_mib=size.memory_mib,
        disk_gib=size.disk_gib,
        disk_limits=machine_limits.of(ctx.config.limits, size.name, {}).disk,
        host_key_public="",
        host_key_private=b"",
        authorized_keys=[],
        **place,
    )
    ceilings.give(session, [machine])
    session.add(machine)
    return machine
