"""What happened, in order: read by the gateway's streams, pruned after a day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, or_, select

from garage.db.models import EventRow
from garage.services.context import Caller, Context
from garage.services.rights import readable


@dataclass(frozen=True, slots=True)
class EventView:
    """One thing that happened. `at` is UTC seconds since 1970; `project_id` None is for everybody."""

    id: int
    at: float
    kind: str
    project_id: str | None
    subject: str
    data: dict[str, Any]


def after(ctx: Context, caller: Caller | None, last_id: int, limit: int = 500) -> list[EventView]:
    """At most `limit` events later than `last_id`, oldest first: the caller's, or everybody's for None."""
    with ctx.db.read() as session:
        query = select(EventRow).where(EventRow.id > last_id).order_by(EventRow.id).limit(limit)
        if caller is not None:
            query = query.where(or_(EventRow.project_id.is_(None), readable(caller, EventRow.project_id)))
        return [event_view(row) for row in session.scalars(query)]


def latest(ctx: Context) -> int:
    """The number of the newest event, 0 when there is none."""
    with ctx.db.read() as session:
        return session.scalar(select(func.max(EventRow.id))) or 0


def resumable(ctx: Context, last_id: int) -> bool:
    """Whether nothing that followed `last_id` has been pruned, and the number is one of this database."""
    with ctx.db.read() as session:
        low, high = session.execute(select(func.min(EventRow.id), func.max(EventRow.id))).one()
        return (low or 1) - 1 <= last_id <= (high or 0)


def prune(ctx: Context) -> int:
    """Forget events older than `keep_events_hours`; returns how many. The newest stays, since SQLite would give its number out again."""
    with ctx.db.write() as session:
        newest = session.scalar(select(func.max(EventRow.id))) or 0
        since = ctx.clock() - ctx.config.keep_events_hours * 3600
        old = delete(EventRow).where(EventRow.at < since, EventRow.id < newest)
        return int(session.execute(old).rowcount)  # type: ignore[attr-defined]


def event_view(row: EventRow) -> EventView:
    return EventView(row.id, row.at, row.kind, row.project_id, row.subject, row.data)
