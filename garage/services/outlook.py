"""What is said before somebody asks: which sizes there are, how long it will take."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from garage.core.types import SizeSpec
from garage.db.models import Image, Machine, Node, Size
from garage.services import crew, demand, placing, pools
from garage.services.context import Context
from garage.services.nodes import netd_error

RECENT = 10
LOOKED_AT = 200
"""Machines among which the last ten of a kind are looked for; where they are older, nothing is known."""
ALIVE = 5.0
"""Seconds without a beat after which a worker is not called well any more; it beats every second."""
TYPICAL = 1.0
"""Seconds from taking a machine to its SSH, until this garage knows better."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """How many seconds a new machine of `image` and `size`, the page's defaults, takes from request to SSH, None while nothing is known;
    `reason` is "pool", "recent" (a boot, like the last ones), "full" (no node has room for it) or "unknown"."""

    seconds: float | None
    reason: str
    waiting: int = 0
    """Machines that are booted already."""
    image: str = demand.FIRST[0]
    size: str = demand.FIRST[1]


def sizes(ctx: Context) -> list[SizeSpec]:
    """Smallest first."""
    with ctx.db.read() as session:
        return [
            SizeSpec(row.name, row.vcpus, row.memory_mib, row.disk_gib)
            for row in session.scalars(select(Size).order_by(Size.memory_mib))
        ]


def forecast(ctx: Context) -> Forecast:
    """The median of the last ten machines that came the same way: out of a pool, or by a boot."""
    with ctx.db.read() as session:
        waiting = pools.waiting(session, ctx.config, *demand.FIRST)
        if not waiting and not _has_room(session, ctx):
            return Forecast(None, "full")
        query = select(Machine.ready_at - Machine.created_at, Machine.cold_reason)
        query = query.where(Machine.ready_at.is_not(None), Machine.rebuilt_at.is_(None))
        rows = session.execute(query.order_by(Machine.id.desc()).limit(LOOKED_AT))
        times = [float(took) for took, cold in rows if took is not None and (cold == "") == (waiting > 0)][:RECENT]
    if waiting:
        return Forecast(statistics.median(times) if times else TYPICAL, "pool", waiting)
    return Forecast(statistics.median(times), "recent") if times else Forecast(None, "unknown")


def _has_room(session: Session, ctx: Context) -> bool:
    """For what `Forecast` tells of; True where that cannot be asked for at all."""
    name, size = demand.FIRST
    image = session.scalars(select(Image).where(Image.name == name, Image.current, Image.owner_id.is_(None))).first()
    found = session.get(Size, size)
    return not (image and found) or placing.has_room(session, ctx.config, placing.Order("", image, found))


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the parts answer: True, False. All True is ready."""

    database: bool
    worker: bool
    netd: bool
    hypervisor: bool
    image: bool

    @property
    def ready(self) -> bool:
        return all((self.database, self.worker, self.netd, self.hypervisor, self.image))


def health(ctx: Context) -> Health:
    """From what workers and netd last recorded; raises `unavailable` when the database does not answer. Of the nodes, the controller's own
    server speaks; where it is none, one that is well is enough: a garage of twenty is not down because one is away."""
    now = ctx.clock()
    with ctx.db.read() as session:
        nodes = list(session.scalars(select(Node)))
        workers = crew.at_work(session, ctx, ALIVE)
        image = session.scalar(select(Image.id).where(Image.current).limit(1)) is not None
    speaking = [node for node in nodes if node.name == ctx.config.node] or nodes
    return Health(
        database=True,
        worker=any(node.owner in workers for node in speaking),
        netd=any(not netd_error(now, node) for node in speaking),
        hypervisor=any(node.facts and not node.hypervisor_error for node in speaking),
        image=image,
    )
