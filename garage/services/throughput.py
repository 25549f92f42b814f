"""Throughput of links: asked for by people or due by schedule; `services/measurements.py` has the rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from garage.core.throughput import Choice, choose, due, in_night
from garage.db.overlay_models import Link, LinkEnd, Measurement, Site, SiteNode
from garage.errors import N_, GarageError
from garage.services.context import Caller, Context, audit
from garage.services.measurements import active, add, advance_now, names, over, rows_of, sites_of
from garage.services.overlay_links import of_nodes
from garage.services.overlay_state import MEASURE_DAYS, MEASURE_MBIT, MEASURE_SECONDS, lock, setting
from garage.services.rights import require_operator, require_sites

SHOWN = 100


@dataclass(frozen=True, slots=True)
class MeasurementView:
    """One measurement; `sent` is from `site` to `peer`. Bits per second at the receiver, times in UTC seconds since 1970."""

    id: str
    link: int
    site: str
    peer: str
    state: str
    """waiting, running, done, failed."""
    asked_by: str
    """"" for the schedule."""
    asked_at: float
    ended_at: float | None
    seconds: int
    mbit: int
    sent_bps: float | None
    sent_retransmits: int | None
    received_bps: float | None
    received_retransmits: int | None
    error: str


def measure(
    ctx: Context, caller: Caller, name: str, peer: str, *, seconds: int | None = None, mbit: int | None = None
) -> MeasurementView:
    """Order the best link between two sites to be measured, as soon as both are free; one that is under way already is not begun anew.
    Raises `not_found`, `wrong_state` (no link is up), `invalid_field` (more than the settings allow)."""
    require_operator(caller, name)
    with ctx.db.write() as session:
        lock(session)
        number, client, server = _link_between(session, name, peer)
        row = session.scalars(select(Measurement).where(Measurement.number == number, active())).first()
        if row is None:
            most = setting(session, MEASURE_MBIT), setting(session, MEASURE_SECONDS)
            figures = _within("mbit", mbit, most[0]), _within("seconds", seconds, most[1])
            row = add(session, ctx, (number, client, server), *figures, caller.name)
            audit(session, ctx, caller.name, "site.measure", name, peer=peer, mbit=row.mbit, seconds=row.seconds)
        advance_now(session, ctx)
        return _views(session, [row], ctx.clock())[0]


def get(ctx: Context, caller: Caller, measurement_id: str) -> MeasurementView:
    require_sites(caller)
    with ctx.db.read() as session:
        row = session.get(Measurement, measurement_id)
        if row is None:
            hint = N_("“garage site measurements SITE” shows them")
            raise GarageError("not_found", N_("there is no measurement {id}"), hint=hint, id=measurement_id[:64])
        return _views(session, [row], ctx.clock())[0]


def listing(ctx: Context, caller: Caller, name: str, peer: str | None = None) -> list[MeasurementView]:
    """Of a site, or between two, the newest first; at most `SHOWN`."""
    require_sites(caller)
    with ctx.db.read() as session:
        query = select(Measurement).order_by(Measurement.id.desc()).limit(SHOWN)
        for site in (name, peer) if peer else (name,):
            nodes = [node.id for node in _nodes(session, site)]
            query = query.where(Measurement.client_id.in_(nodes) | Measurement.server_id.in_(nodes))
        return _views(session, list(session.scalars(query)), ctx.clock())


def plan(ctx: Context, midnight_of: Callable[[float], float]) -> None:
    """Order what is due by schedule, no more at once than can begin. `midnight_of`: when the registry's day began, of a time."""
    now = ctx.clock()
    midnight = midnight_of(now)
    if not in_night(now, midnight):
        return
    with ctx.db.read() as session:
        if not (days := setting(session, MEASURE_DAYS)) or not due(_tried(session), midnight, now, days):
            return
    with ctx.db.write() as session:
        lock(session)
        _order_due(session, ctx, due(_tried(session), midnight, now, days))
        advance_now(session, ctx)


def _order_due(session: Session, ctx: Context, numbers: Sequence[int]) -> None:
    sites, most = sites_of(session), (setting(session, MEASURE_MBIT), setting(session, MEASURE_SECONDS))
    busy = {sites[end] for row in rows_of(session, active()) for end in (row.client_id, row.server_id)}
    links = {link.number: link for link in session.scalars(select(Link).where(Link.number.in_(numbers)))}
    for link in (links[number] for number in numbers):
        ends = {sites[link.a_id], sites[link.b_id]}
        if not ends & busy:
            busy |= ends
            add(session, ctx, (link.number, link.a_id, link.b_id), *most, "")


def _tried(session: Session) -> dict[int, float]:
    """When each link that could be measured was tried last; 0 for never."""
    up = select(LinkEnd.number).where(LinkEnd.state == "up").group_by(LinkEnd.number).having(func.count() == 2)
    paused = select(SiteNode.id).where(SiteNode.paused)
    last = (
        select(Measurement.number, func.max(Measurement.asked_at).label("at")).group_by(Measurement.number).subquery()
    )
    query = select(Link.number, Link.a_id, Link.b_id, last.c.at).outerjoin(last, last.c.number == Link.number)
    query = query.where(Link.number.in_(up), Link.state == "up", Link.a_id.not_in(paused), Link.b_id.not_in(paused))
    sites = sites_of(session)
    return {row.number: row.at or 0.0 for row in session.execute(query) if sites[row.a_id] != sites[row.b_id]}


def _within(field: str, given: int | None, most: int) -> int:
    if given is not None and not 1 <= given <= most:
        text, hint = (
            N_("{field} is a number from {least} to {most}"),
            N_("an admin may allow more: garage site configure"),
        )
        raise GarageError("invalid_field", text, hint=hint, pointer=f"/{field}", field=field, least=1, most=most)
    return given or most


def _link_between(session: Session, name: str, peer: str) -> tuple[int, str, str]:
    """(number, node at `name`, node at `peer`) of the best link."""
    here, there = ({node.id for node in _nodes(session, site)} for site in (name, peer))
    links = [link for link in of_nodes(session, here) if {link.a_id, link.b_id} & there and name != peer]
    if not links:
        hint = N_("sites without a link reach each other through others: “garage site links” shows who has which")
        raise GarageError(
            "not_found", N_("there is no link between {name} and {peer}"), hint=hint, name=name, peer=peer
        )
    number = choose(_choices(session, links))
    if number is None:
        hint = N_("“garage site links” shows how they are")
        raise GarageError("wrong_state", N_("no link between {name} and {peer} is up"), hint=hint, name=name, peer=peer)
    link = next(link for link in links if link.number == number)
    return (number, link.a_id, link.b_id) if link.a_id in here else (number, link.b_id, link.a_id)


def _choices(session: Session, links: Sequence[Link]) -> list[Choice]:
    """A link is up when both of its ends say so, neither is paused, and it is not being replaced."""
    ends = list(session.scalars(select(LinkEnd).where(LinkEnd.number.in_([link.number for link in links]))))
    paused = set(session.scalars(select(SiteNode.id).where(SiteNode.paused)))
    found = []
    for link in links:
        own = [end for end in ends if end.number == link.number]
        up = len(own) == 2 and all(end.state == "up" for end in own) and not {link.a_id, link.b_id} & paused
        best = min((end.preference or 0 for end in own), default=0)
        found.append(Choice(link.number, up and link.state == "up", best))
    return found


def _views(session: Session, rows: Sequence[Measurement], now: float) -> list[MeasurementView]:
    """What has had its time is shown as failed, also before anybody has tended it."""
    named = names(session)
    same = ("id", "asked_by", "asked_at", "seconds", "mbit", "ended_at")
    figures = ("sent_bps", "sent_retransmits", "received_bps", "received_retransmits")
    return [
        MeasurementView(
            **{name: getattr(row, name) for name in (*same, *figures)},
            link=row.number,
            site=named[row.client_id],
            peer=named[row.server_id],
            state="failed" if (why := over(row, now)) else row.state,
            error=why or row.error,
        )
        for row in rows
    ]


def _nodes(session: Session, name: str) -> list[SiteNode]:
    site = session.scalars(select(Site).where(Site.name == name)).first()
    if site is None:
        hint = N_("“garage site list” shows them")
        raise GarageError("not_found", N_("there is no site {name}"), hint=hint, name=name[:64])
    return list(session.scalars(select(SiteNode).where(SiteNode.site_id == site.id)))
