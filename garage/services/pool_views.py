"""What admins see of pools, and may fix: how many wait, what that costs, how often a request found one."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from garage.core import pool
from garage.core.pool import Cold, Kind
from garage.core.states import State
from garage.db.models import Image, Machine, PoolSize, Size
from garage.errors import N_, GarageError
from garage.services import demand, pools
from garage.services.context import Caller, Context, audit
from garage.services.rights import require_admin, require_reader

COUNTED = 7 * pool.DAY
"""How far back hits are counted, in seconds."""


@dataclass(frozen=True, slots=True)
class PoolView:
    """One image in one size, over all nodes. Memory in MiB is what those that wait hold."""

    image: str
    size: str
    waiting: int
    starting: int
    wanted: int
    fixed: int | None
    """By an admin, per node; None: it follows demand."""
    memory_mib: int
    taken: int
    """Requests of the last week that found one."""
    missed: int
    """Requests of the last week that had to boot because none waited."""


def listing(ctx: Context, caller: Caller) -> list[PoolView]:
    """Kinds that wait, are wanted or were asked for; the busiest first."""
    require_reader(caller)
    with ctx.db.read() as session:
        wanted = _wanted(session, ctx)
        views = [
            _view(session, ctx, image, size, wanted.get(Kind(image.sha256, size.name), 0))
            for image in session.scalars(
                select(Image).where(Image.current, Image.owner_id.is_(None)).order_by(Image.name)
            )
            for size in session.scalars(select(Size).order_by(Size.memory_mib))
        ]
    used = [view for view in views if view.waiting or view.starting or view.wanted or view.taken or view.missed]
    return sorted(used, key=lambda view: -(view.taken + view.missed))


def _wanted(session: Session, ctx: Context) -> dict[Kind, int]:
    return pools.wanted_in_all(session, ctx, demand.wants(session, ctx))


def _view(session: Session, ctx: Context, image: Image, size: Size, wanted: int) -> PoolView:
    spare = select(func.count()).where(
        Machine.state == State.SPARE.value, Machine.image_id == image.id, Machine.size == size.name
    )
    waiting = session.scalar(spare.where(Machine.warm)) or 0
    starting = session.scalar(spare.where(~Machine.warm)) or 0
    asked = select(Machine.cold_reason, func.count()).join(Image, Image.id == Machine.image_id)
    asked = asked.where(Image.name == image.name, Machine.size == size.name, Machine.project_id.is_not(None))
    asked = asked.where(Machine.created_at > ctx.clock() - COUNTED).group_by(Machine.cold_reason)
    reasons = dict(session.execute(asked).all())
    row = session.get(PoolSize, (image.name, size.name))
    return PoolView(
        image=image.name,
        size=size.name,
        waiting=waiting,
        starting=starting,
        wanted=wanted,
        fixed=row.fixed if row else None,
        memory_mib=(waiting + starting) * size.memory_mib,
        taken=reasons.get("", 0),
        missed=reasons.get(Cold.EMPTY.value, 0) + reasons.get(Cold.FAILED.value, 0),
    )


def fix(ctx: Context, caller: Caller, image: str, size: str, fixed: int | None) -> PoolView:
    """Have `fixed` machines wait per node, or (None) as many as demand says."""
    require_admin(caller)
    with ctx.db.write() as session:
        found = session.scalars(
            select(Image).where(Image.name == image, Image.current, Image.owner_id.is_(None))
        ).first()
        of_size = session.get(Size, size)
        if found is None or of_size is None:
            hint = N_("“garage image list” and “garage machine sizes” show what there is")
            raise GarageError("not_found", N_("there is no pool {image} {size}"), hint=hint, image=image, size=size)
        row = session.get(PoolSize, (image, size))
        if row is not None:
            session.delete(row)
            session.flush()
        if fixed is not None:
            session.add(PoolSize(image=image, size=size, fixed=fixed))
        audit(session, ctx, caller.name, "pool.fix", f"{image} {size}", fixed=fixed)
        session.flush()
        return _view(session, ctx, found, of_size, _wanted(session, ctx).get(Kind(found.sha256, size), 0))
