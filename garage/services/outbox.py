"""What is on its way out, as the workers that send it see it: at least once, in order for each way out, and none waits for another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from garage.core.channels import Target
from garage.db.models import User
from garage.db.news_models import Channel, Outgoing
from garage.errors import GarageError
from garage.services.channels import unlocked
from garage.services.context import Context

CLAIM = 120.0
"""Seconds that a worker may take for one; then it has died, and another one sends it again."""
TRIES, REFUSED_TRIES = 10, 3
"""How often one is tried; of one that the other side has refused."""
FIRST, LONGEST = 5.0, 3600.0
"""Seconds until a way out that failed is tried again, and at most."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One that a worker is to send. Holds secrets: used and forgotten."""

    id: str
    channel: str
    channel_kind: str
    locale: str
    target: Target
    at: float
    kind: str
    detail: dict[str, Any]
    claimed_until: float
    doubtful: bool
    """Its way out failed the last time."""


def pause(failures: int) -> float:
    """Seconds until the next attempt, after so many in a row have failed."""
    return float(min(FIRST * 4 ** min(failures - 1, 20), LONGEST))


def claim(ctx: Context, free: int, doubtful: int) -> list[Delivery]:
    """The oldest of each way out that is due, at most `free`, those that work first; at most `doubtful` to ways out that failed lately."""
    with ctx.db.read() as session:
        chosen = _chosen(session, ctx.clock(), free, doubtful)
    if not chosen:
        return []
    with ctx.db.write() as session:
        return [found for id_ in chosen if (found := _take(session, ctx, id_))]


def _chosen(session: Session, now: float, free: int, doubtful: int) -> list[str]:
    oldest, failures = func.min(Outgoing.id), func.max(Channel.failures)
    query = select(oldest, failures).join(Channel, Channel.id == Outgoing.channel_id).where(Channel.retry_at <= now)
    query = query.group_by(Outgoing.channel_id).having(func.max(Outgoing.claimed_until) <= now)
    query = query.order_by(failures, oldest).limit(max(free, 0))
    rows = [(str(id_), int(failed)) for id_, failed in session.execute(query)]
    works = [id_ for id_, failed in rows if not failed]
    return works + [id_ for id_, failed in rows if failed][: max(doubtful, 0)]


def _take(session: Session, ctx: Context, id_: str) -> Delivery | None:
    row = session.get(Outgoing, id_)
    if row is None or row.claimed_until > ctx.clock():
        return None
    row.claimed_until = ctx.clock() + CLAIM
    channel = session.get_one(Channel, row.channel_id)
    reader = session.get(User, channel.user_id) if channel.user_id else None
    locale = channel.locale or (reader.locale if reader else "") or "en"
    target = unlocked(ctx, channel.target)
    return Delivery(
        row.id,
        channel.id,
        channel.kind,
        locale,
        target,
        row.at,
        row.kind,
        row.detail,
        row.claimed_until,
        channel.failures > 0,
    )


def sent(ctx: Context, delivery: Delivery) -> None:
    """It has arrived."""

    def write(row: Outgoing, channel: Channel, session: Session) -> None:
        channel.failures, channel.retry_at, channel.error, channel.sent_at = 0, 0.0, None, ctx.clock()
        session.delete(row)

    _settle(ctx, delivery, write)


def failed(ctx: Context, delivery: Delivery, error: GarageError, *, refused: bool) -> None:
    """It has not; `refused`: the other side answered, and did not want it. Its owner sees `error`."""

    def write(row: Outgoing, channel: Channel, session: Session) -> None:
        channel.failures += 1
        channel.retry_at, channel.error = ctx.clock() + pause(channel.failures), error.as_dict()
        row.tries, row.claimed_until = row.tries + 1, 0.0
        if row.tries >= (REFUSED_TRIES if refused else TRIES):
            session.delete(row)

    _settle(ctx, delivery, write)


def _settle(ctx: Context, delivery: Delivery, write: Callable[[Outgoing, Channel, Session], None]) -> None:
    """Unless it is another worker's by now, or its way out was removed."""
    with ctx.db.write() as session:
        row = session.get(Outgoing, delivery.id)
        if row is not None and row.claimed_until == delivery.claimed_until:
            channel = session.get_one(Channel, row.channel_id)
            channel.tried_at = ctx.clock()
            write(row, channel, session)
