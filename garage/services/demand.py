"""What is asked for, as far as pools follow it: every kind of machine with how often it may be expected now, over the whole site."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from garage.core import pool
from garage.core.pool import Kind, Want
from garage.db.models import Image, Machine, PoolSize, Size
from garage.services.context import Context

FIRST = ("debian-12", "small")
"""What a garage without any history keeps one of: the request page's defaults."""


def wants(session: Session, ctx: Context) -> list[Want]:
    """Every current image in every size. Costs as much as there were requests in the last weeks: many nodes share one answer."""
    now, asked = ctx.clock(), _asked(session, ctx)
    fixed = {(row.image, row.size): row.fixed for row in session.scalars(select(PoolSize))}
    sizes = list(session.scalars(select(Size)))
    return [
        Want(
            Kind(image.sha256, size.name),
            size.memory_mib,
            size.disk_gib,
            rate=pool.rate(asked.get((image.name, size.name), ()), now),
            fixed=fixed.get((image.name, size.name)),
            least=int((image.name, size.name) == FIRST),
        )
        for image in session.scalars(select(Image).where(Image.current))
        if may_wait(image)
        for size in sizes
    ]


def may_wait(image: Image) -> bool:
    """Whether its machines may be booted in advance: one without our initrd learns who it is at its first boot only."""
    return image.manifest.get("initrd", "garage") == "garage" and not image.damaged


def _asked(session: Session, ctx: Context) -> dict[tuple[str, str], list[float]]:
    """(image, size) → when machines of the kind were asked for; those that are gone count, too."""
    query = select(Image.name, Machine.size, Machine.created_at).join(Image, Image.id == Machine.image_id)
    query = query.where(Machine.project_id.is_not(None), Machine.created_at > ctx.clock() - pool.WEEKS * pool.WEEK)
    found: dict[tuple[str, str], list[float]] = {}
    for image, size, at in session.execute(query):
        found.setdefault((image, size), []).append(at)
    return found
