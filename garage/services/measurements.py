"""Measurements of throughput as rows: which may begin, what a node's spec says of them, how each of them ends.

A row is the whole truth: which are running is read from the database, so a controller that starts again goes on. Whatever happens, a
measurement ends: by the client's figures, by either end's reason, or by its time.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, delete, select, true, update
from sqlalchemy.orm import Session

from garage.core.throughput import Waiting, startable
from garage.db.overlay_models import Link, Measurement, Site, SiteNode
from garage.services.context import Context
from garage.services.overlay_links import Changes
from garage.services.overlay_state import lock, raise_versions
from netd import wire
from netd.core.throughput import window

REPORT_SECONDS = 20.0
"""Beyond an order's own end: its outcome may wait for the next report."""
WAIT_SECONDS = 900.0
"""Longest wait for other measurements of the two sites."""
GONE, SILENT, CROWDED = "the link is gone", "the nodes did not answer in time", "others were measured all the time"


@dataclass(frozen=True, slots=True)
class Latest:
    """Between two nodes, as seen from the first: bits per second."""

    forth: float
    back: float
    at: float


def order_of(session: Session, node_id: str, links: Collection[int]) -> wire.Order | None:
    """What stands in the spec of a node that has these links."""
    query = select(Measurement).where(Measurement.state == "running", _ends_at(node_id))
    row = session.scalars(query.order_by(Measurement.id)).first()
    if row is None or row.number not in links or row.not_after is None:
        return None
    return wire.Order(
        id=row.id,
        link=row.number,
        role="client" if row.client_id == node_id else "server",
        seconds=row.seconds,
        mbit=row.mbit,
        not_after=row.not_after,
    )


def ends(session: Session, node_id: str, outcome: wire.Outcome | None) -> bool:
    """Whether what a node says ends a measurement."""
    return _ended_by(session, node_id, outcome) is not None


def take(session: Session, ctx: Context, node_id: str, outcome: wire.Outcome | None, changes: Changes) -> bool:
    """Keep what a node says of a measurement that it takes part in, and begin with the next; called under the lock. Whether one ended."""
    row = _ended_by(session, node_id, outcome)
    if row is None or outcome is None:
        return False
    if outcome.error:
        _fail(row, ctx.clock(), f"{names(session)[node_id]}: {outcome.error}", changes)
    else:
        _finish(session, row, ctx.clock(), outcome, changes)
    session.flush()
    advance(session, ctx, changes)
    return True


def _ended_by(session: Session, node_id: str, outcome: wire.Outcome | None) -> Measurement | None:
    """The running measurement that an outcome speaks of. A server end has no figures, only reasons."""
    row = session.get(Measurement, outcome.id) if outcome is not None else None
    if row is None or outcome is None or row.state != "running":
        return None
    return row if row.client_id == node_id or (row.server_id == node_id and outcome.error) else None


def _finish(session: Session, row: Measurement, now: float, outcome: wire.Outcome, changes: Changes) -> None:
    pair = (row.client_id, row.server_id)
    earlier = update(Measurement).where(
        Measurement.latest, Measurement.client_id.in_(pair), Measurement.server_id.in_(pair)
    )
    session.execute(earlier.values(latest=False))
    row.state, row.latest, row.ended_at = "done", True, now
    row.sent_bps, row.sent_retransmits = outcome.sent_bps, outcome.sent_retransmits
    row.received_bps, row.received_retransmits = outcome.received_bps, outcome.received_retransmits
    changes.nodes |= set(pair)


def _fail(row: Measurement, now: float, why: str, changes: Changes) -> None:
    if row.state == "running":
        changes.nodes |= {row.client_id, row.server_id}
    row.state, row.error, row.ended_at = "failed", why[:300], now


def advance(session: Session, ctx: Context, changes: Changes) -> None:
    """End what cannot go on, begin what may begin; called under the lock. `changes` gets the nodes that are to be told."""
    now, links = ctx.clock(), set(session.scalars(select(Link.number)))
    for row in rows_of(session, active()):
        if why := over(row, now, gone=row.number not in links):
            _fail(row, now, why, changes)
    session.flush()
    rows = {row.id: row for row in rows_of(session, active())}
    for chosen in _startable(session, list(rows.values())):
        row = rows[chosen]
        row.state, row.not_after = "running", now + window(_sketch(row))
        changes.nodes |= {row.client_id, row.server_id}
    session.flush()


def advance_now(session: Session, ctx: Context) -> None:
    changes = Changes()
    advance(session, ctx, changes)
    raise_versions(session, ctx, changes.nodes)


def tend(ctx: Context) -> None:
    """End what has had its time, begin what may begin; asked about once a second, and nearly always there is nothing."""
    with ctx.db.read() as session:
        if not _to_do(session, ctx.clock()):
            return
    with ctx.db.write() as session:
        lock(session)
        advance_now(session, ctx)


def _to_do(session: Session, now: float) -> bool:
    rows = rows_of(session, active())
    if not rows:
        return False
    links = set(session.scalars(select(Link.number).where(Link.number.in_([row.number for row in rows]))))
    return any(over(row, now, gone=row.number not in links) for row in rows) or bool(_startable(session, rows))


def over(row: Measurement, now: float, *, gone: bool = False) -> str:
    """Why a measurement cannot go on; "" while it can."""
    if gone:
        return GONE
    if row.state == "running" and row.not_after is not None:
        return SILENT if not 0 <= row.not_after + REPORT_SECONDS - now <= REPORT_SECONDS + window(_sketch(row)) else ""
    return CROWDED if row.state == "waiting" and now - row.asked_at > WAIT_SECONDS else ""


def _startable(session: Session, rows: Sequence[Measurement]) -> list[str]:
    waiting = [row for row in rows if row.state == "waiting"]
    if not waiting:
        return []
    sites = sites_of(session)
    busy = {sites[end] for row in rows if row.state == "running" for end in (row.client_id, row.server_id)}
    return startable(
        [Waiting(row.id, frozenset((sites[row.client_id], sites[row.server_id]))) for row in waiting], busy
    )


def _sketch(row: Measurement) -> wire.Order:
    return wire.Order(id=row.id, link=row.number, role="client", seconds=row.seconds, mbit=row.mbit, not_after=0.0)


def add(
    session: Session, ctx: Context, link: tuple[int, str, str], mbit: int, seconds: int, asked_by: str
) -> Measurement:
    """`link`: its number, the client's node and the server's."""
    row = Measurement(
        id=ctx.new_id(),
        number=link[0],
        client_id=link[1],
        server_id=link[2],
        asked_by=asked_by,
        state="waiting",
        seconds=seconds,
        mbit=mbit,
        asked_at=ctx.clock(),
    )
    session.add(row)
    session.flush()
    return row


def latest(session: Session) -> dict[tuple[str, str], Latest]:
    """The last measurement between any two nodes, in both directions."""
    found: dict[tuple[str, str], Latest] = {}
    for row in rows_of(session, Measurement.latest == true()):
        forth, back, at = row.sent_bps or 0.0, row.received_bps or 0.0, row.ended_at or 0.0
        found[(row.client_id, row.server_id)] = Latest(forth, back, at)
        found[(row.server_id, row.client_id)] = Latest(back, forth, at)
    return found


def forget(session: Session, ctx: Context) -> None:
    """What ended long ago, but the last of each pair."""
    old = Measurement.ended_at < ctx.clock() - ctx.config.keep_metrics_days * 86_400
    session.execute(delete(Measurement).where(old, Measurement.latest.is_(False)))


def rows_of(session: Session, condition: ColumnElement[bool]) -> list[Measurement]:
    return list(session.scalars(select(Measurement).where(condition).order_by(Measurement.id)))


def active() -> ColumnElement[bool]:
    return Measurement.state.in_(("waiting", "running"))


def _ends_at(node_id: str) -> ColumnElement[bool]:
    return (Measurement.client_id == node_id) | (Measurement.server_id == node_id)


def sites_of(session: Session) -> dict[str, str]:
    """Site by node."""
    return {row[0]: row[1] for row in session.execute(select(SiteNode.id, SiteNode.site_id))}


def names(session: Session) -> dict[str, str]:
    """The site's name by node."""
    return {row[0]: row[1] for row in session.execute(select(SiteNode.id, Site.name).join(Site))}
