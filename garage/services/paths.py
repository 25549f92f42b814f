"""Histories of many ways between sites at once, for the grid."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select

from garage.core import samples
from garage.core.samples import Sample
from garage.db.overlay_models import PathHour, Site
from garage.services.context import Caller, Context
from garage.services.rights import require_sites


def recent(
    ctx: Context, caller: Caller, names: Collection[str], hours: int = 24
) -> dict[tuple[str, str], list[Sample]]:
    """By (site, peer), both among `names`: a sample a minute of the last `hours` (1 to 24), the present one included. Ways of which
    nothing is known are left out."""
    require_sites(caller)
    last = int(ctx.clock() // 3600)
    first = last - max(1, min(hours, 24)) + 1
    found: dict[tuple[str, str], dict[int, bytes]] = {}
    with ctx.db.read() as session:
        site = {row.id: row.name for row in session.execute(select(Site.id, Site.name).where(Site.name.in_(names)))}
        wanted = PathHour.hour >= first, PathHour.site_id.in_(site), PathHour.peer_id.in_(site)
        for row in session.scalars(select(PathHour).where(*wanted)):
            found.setdefault((site[row.site_id], site[row.peer_id]), {})[row.hour] = row.samples
    span = range(first, last + 1)
    return {
        pair: [one for hour in span for one in samples.read(kept.get(hour, samples.EMPTY))]
        for pair, kept in found.items()
    }
