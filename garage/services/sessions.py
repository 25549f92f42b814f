"""Browsers that are signed in, listed and ended by whom they belong to."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, select

from garage.db.models import Session
from garage.errors import N_, GarageError
from garage.services.context import Caller, Context, audit

REFERENCE = 16
"""Characters of the cookie's hash by which a session is named: nobody finds the cookie by them."""


@dataclass(frozen=True, slots=True)
class SessionView:
    """`address` and `agent` are the browser's, when it signed in. Times are UTC seconds since 1970."""

    id: str
    created_at: float
    expires_at: float
    address: str
    agent: str
    current: bool
    method: str
    """How it was opened: "password" or "openid"."""


def listing(ctx: Context, caller: Caller, *, current: str = "") -> list[SessionView]:
    """The caller's, the newest first; `current` is the hash of the cookie that asks."""
    with ctx.db.read() as session:
        query = select(Session).where(Session.user_id == caller.user_id, Session.expires_at > ctx.clock())
        rows = session.scalars(query.order_by(Session.created_at.desc(), Session.hash))
        return [
            SessionView(
                *(row.hash[:REFERENCE], row.created_at, row.expires_at, row.address, row.agent),
                current=row.hash == current,
                method=row.method,
            )
            for row in rows
        ]


def end(ctx: Context, caller: Caller, ref: str) -> None:
    """One of the caller's; its streams close."""
    with ctx.db.write() as session:
        mine = session.scalars(select(Session).where(Session.user_id == caller.user_id))
        row = next((row for row in mine if row.hash[:REFERENCE] == ref), None)
        if row is None:
            hint = N_("“garage session list” shows yours")
            raise GarageError("not_found", N_("there is no session {id}"), hint=hint, id=ref[:64])
        session.delete(row)
        audit(session, ctx, caller.name, "session.end", ref)


def end_others(ctx: Context, caller: Caller, *, current: str = "") -> int:
    """All of the caller's but the one with that hash; returns how many."""
    with ctx.db.write() as session:
        others = delete(Session).where(Session.user_id == caller.user_id, Session.hash != current)
        count = int(session.execute(others).rowcount)  # type: ignore[attr-defined]
        audit(session, ctx, caller.name, "session.end", "*", count=count)
        return count
