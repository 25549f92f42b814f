"""A site's row: what `core.allot` gives it, under the registry's lock."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from garage.core import allot
from garage.db.overlay_models import Site
from garage.services.context import Context
from garage.services.overlay_state import links6, raise_versions


def add_site(session: Session, ctx: Context, name: str, proposed: tuple[str, str], *, own: bool = False) -> Site:
    """Allot name, AS number and prefixes; the Table changes. Raises `already_exists`, `invalid_field`, `no_address`."""
    names, asns, taken = set(), set(), [str(links6(ctx).supernet(new_prefix=48)), allot.LINKS4]
    for site in session.scalars(select(Site)):
        names.add(site.name)
        asns.add(site.asn)
        taken += [site.ipv4, site.ipv6]
    given = allot.prefixes(*proposed, taken, ctx.rng)
    site = Site(
        id=ctx.new_id(),
        name=allot.site_name(name, names),
        asn=allot.asn(asns, ctx.rng),
        ipv4=given.ipv4,
        ipv6=given.ipv6,
        proposed_ipv4=proposed[0],
        proposed_ipv6=proposed[1],
        own=own,
        created_at=ctx.clock(),
    )
    session.add(site)
    session.flush()
    raise_versions(session, ctx, (), table=True)
    return site
