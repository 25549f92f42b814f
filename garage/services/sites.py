"""Sites as people see them: lists, the map, histories; removing one, changing keys."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from garage.core import samples
from garage.db.models import Setting
from garage.db.overlay_models import Link, PathHour, Site, SiteNode
from garage.errors import N_, GarageError
from garage.services import registry
from garage.services.context import Caller, Context, audit
from garage.services.overlay_links import of_nodes
from garage.services.overlay_state import BFD_MS, LIMITS, lock, mark_dirty, raise_versions
from garage.services.rights import require_admin, require_operator, require_sites
from garage.services.site_views import History, LinkView, SiteView, link_views, site_views


def listing(ctx: Context, caller: Caller) -> list[SiteView]:
    """All sites by name, with their nodes."""
    require_sites(caller)
    with ctx.db.read() as session:
        return site_views(session, ctx, list(session.scalars(select(Site).order_by(Site.name))))


def get(ctx: Context, caller: Caller, name: str) -> SiteView:
    require_sites(caller)
    with ctx.db.read() as session:
        return site_views(session, ctx, [_site(session, name)])[0]


def links(ctx: Context, caller: Caller, name: str | None = None) -> list[LinkView]:
    """All links, or those of a site."""
    require_sites(caller)
    with ctx.db.read() as session:
        if name is None:
            rows = list(session.scalars(select(Link).order_by(Link.number)))
        else:
            site = _site(session, name)
            rows = of_nodes(session, session.scalars(select(SiteNode.id).where(SiteNode.site_id == site.id)))
        return link_views(session, rows)


def history(ctx: Context, caller: Caller, name: str, peer: str, hours: int = 24) -> History:
    """What `name` measured to `peer` in the last `hours` (at most 24), the present one included."""
    require_sites(caller)
    last = int(ctx.clock() // 3600)
    first = last - max(1, min(hours, 24)) + 1
    with ctx.db.read() as session:
        pair = PathHour.site_id == _site(session, name).id, PathHour.peer_id == _site(session, peer).id
        rows = {row.hour: row.samples for row in session.scalars(select(PathHour).where(*pair, PathHour.hour >= first))}
    found = [sample for hour in range(first, last + 1) for sample in samples.read(rows.get(hour, samples.EMPTY))]
    return History(name, peer, first * 3600.0, found)


def remove(ctx: Context, caller: Caller, name: str) -> None:
    """The site's credential is void and all its peers drop it with their next spec, within a second."""
    require_admin(caller)
    with ctx.db.write() as session:
        lock(session)
        site = _site(session, name)
        if site.own:
            hint = N_("it stays as long as there is an overlay")
            raise GarageError("in_use", N_("{name} is the registry's own site"), hint=hint, name=site.name)
        nodes = list(session.scalars(select(SiteNode).where(SiteNode.site_id == site.id)))
        audit(session, ctx, caller.name, "site.remove", site.name, asn=site.asn, ipv4=site.ipv4, ipv6=site.ipv6)
        registry.drop(session, ctx, site, nodes, whole=True)


def rotate(ctx: Context, caller: Caller, name: str) -> SiteView:
    """Ask the site's nodes for new keys; links change to them one beside the other, without a lost packet."""
    require_operator(caller, name)
    with ctx.db.write() as session:
        lock(session)
        site = _site(session, name)
        nodes = list(session.scalars(select(SiteNode).where(SiteNode.site_id == site.id)))
        for node in nodes:
            node.want_key += 1
        session.flush()
        raise_versions(session, ctx, [node.id for node in nodes])
        audit(session, ctx, caller.name, "site.rotate", site.name)
        return site_views(session, ctx, [site])[0]


def place(ctx: Context, caller: Caller, name: str, at: tuple[float, float] | None) -> SiteView:
    """Where the site stands on the map, (latitude, longitude) in degrees; None: nobody knows."""
    require_operator(caller, name)
    if at and not (-90 <= at[0] <= 90 and -180 <= at[1] <= 180):
        raise GarageError(
            "invalid_field",
            N_("a latitude is from -90 to 90 degrees, a longitude from -180 to 180"),
            hint=N_("e.g. 36.08 140.11 for Tsukuba: latitude first"),
            pointer="/latitude",
        )
    with ctx.db.write() as session:
        site = _site(session, name)
        site.latitude, site.longitude = at or (None, None)
        registry.publish(session, ctx, site.name)
        audit(session, ctx, caller.name, "site.place", site.name, at=list(at or ()))
        return site_views(session, ctx, [site])[0]


def relay(ctx: Context, caller: Caller, name: str, *, may: bool) -> SiteView:
    """Whether the site may be made a hub, which carries other sites' packets; one that is a hub is relieved step by step."""
    require_admin(caller)
    with ctx.db.write() as session:
        lock(session)
        site = _site(session, name)
        site.relay = may
        mark_dirty(session)
        audit(session, ctx, caller.name, "site.relay", site.name, may=may)
        return site_views(session, ctx, [site])[0]


def configure(ctx: Context, caller: Caller, **given: int | None) -> None:
    """The network's figures, by their names without "overlay_"; None leaves one as it is. BFD's interval (ms; three missed packets end a
    link), up to how many sites all are linked, and how throughput is measured: every so many days (0: on demand alone), at most so many
    Mb/s, for so many seconds."""
    require_admin(caller)
    figures = {f"overlay_{name}": value for name, value in given.items() if value is not None}
    with ctx.db.write() as session:
        lock(session)
        for key, value in figures.items():
            least, most = LIMITS[key]
            if not least <= value <= most:
                text, hint = N_("{field} is a number from {least} to {most}"), N_("nothing of what you sent was set")
                field = key.removeprefix("overlay_")
                raise GarageError(
                    "invalid_field", text, hint=hint, pointer=f"/{field}", field=field, least=least, most=most
                )
            session.merge(Setting(key=key, value=str(value)))
        if BFD_MS in figures:
            raise_versions(session, ctx, list(session.scalars(select(SiteNode.id))))
        mark_dirty(session)
        audit(session, ctx, caller.name, "site.configure", "overlay", **dict[str, Any](given))


def counts(ctx: Context) -> dict[str, int]:
    """For metrics: sites, links, links_up, alarms (nodes that see somebody announce what is not theirs), renumbering."""
    caller = Caller("", "garage", admin=True)
    found, tunnels = listing(ctx, caller), links(ctx, caller)
    return {
        "sites": len(found),
        "links": len(tunnels),
        "links_up": sum(link.state in ("up", "draining") for link in tunnels),
        "alarms": sum(bool(node.alarms) for site in found for node in site.nodes),
        "renumbering": sum(site.renumber for site in found),
    }


def accused(ctx: Context) -> dict[str, int]:
    """For metrics: of every site, how many others say that it announces what is not its own, and one more if it runs on two servers. Names
    that are no site's are passed over."""
    return {
        site.name: len(site.accusations) + (site.state == "copied")
        for site in listing(ctx, Caller("", "garage", admin=True))
    }


def _site(session: Session, name: str) -> Site:
    if site := session.scalars(select(Site).where(Site.name == name)).first():
        return site
    raise GarageError(
        "not_found", N_("there is no site {name}"), hint=N_("“garage site list” shows them"), name=name[:64]
    )
