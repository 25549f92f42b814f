"""API tokens: what programs show instead of a password."""

from __future__ import annotations

import secrets

from sqlalchemy import delete as sql_delete
from sqlalchemy import func, select
from sqlalchemy.orm import Session as OrmSession

from garage.core import scopes
from garage.db.models import ApiToken, LoginFailure, Setting, User
from garage.errors import N_, GarageError
from garage.services import accounts, grants, second_factor
from garage.services.context import Caller, Context, audit
from garage.services.vault import digest
from garage.services.views import TokenView

MOST = 100
"""Of one user, or of one service account: lists of them come whole."""


def by_token(ctx: Context, token: str) -> Caller | None:
    """Who holds this API token, None when it is unknown, expired or its user disabled."""
    with ctx.db.read() as session:
        query = select(User, ApiToken, grants.SOME).join(ApiToken, ApiToken.user_id == User.id)
        query = query.where(ApiToken.hash == digest(token))
        row = session.execute(query).first()
        if row is None or row[0].disabled or (row[1].expires_at is not None and row[1].expires_at <= ctx.clock()):
            return None
        granted = grants.of_some(session, row[0], row[2]).by(row[1].created_at)
        return accounts.caller_of(row[0], granted, row[1].scope)


def log_in(ctx: Context, name: str, password: str, address: str, token_name: str, code: str = "") -> str:
    """The secret of a new API token, for a program; raises as `accounts.sign_in` and `create` do, and makes nothing then."""
    check_name(token_name, "/token_name")
    user_id, stored = accounts.proved(ctx, name, password, address)
    with ctx.db.write() as session:
        user = accounts.still(session, ctx, user_id, stored)
        if user.id in second_factor.missing(session, ctx, grants.of(session, [user])):
            raise accounts.no_factor(ctx)
        if second_factor.has(session, user.id):
            accounts.prove_code(session, ctx, user, code)
        session.execute(sql_delete(LoginFailure).where(LoginFailure.name == name))
        row, secret = new(session, ctx, user.id, token_name)
        audit(session, ctx, user.name, "token.create", token_name, id=row.id, address=address)
        return secret


def create(
    ctx: Context, caller: Caller, name: str, *, days: float | None = None, scope: str = scopes.ALL
) -> tuple[TokenView, str]:
    """(the token's row, its secret, shown this once). Tokens begin with "garage_" so that scanners can find leaked ones."""
    check(name, days, scope)
    with ctx.db.write() as session:
        row, secret = new(session, ctx, caller.user_id, name, days, scope)
        audit(session, ctx, caller.name, "token.create", name, id=row.id, scope=scope)
        return view(row), secret


def check(name: str, days: float | None, scope: str) -> None:
    """Raises `invalid_field`."""
    check_name(name, "/name")
    if scope not in scopes.SCOPES:
        hint = N_("there are: {have}")
        have = ", ".join(scopes.SCOPES)
        text = N_("there is no scope {scope}")
        raise GarageError("invalid_field", text, hint=hint, pointer="/scope", scope=scope[:32], have=have)
    if days is not None and not 0 < days <= 3650:
        hint = N_("without a number of days it lives until it is deleted")
        text = N_("a token lives at most {limit} days")
        raise GarageError("invalid_field", text, hint=hint, pointer="/days", limit=3650)


def check_name(name: str, pointer: str) -> None:
    if not 0 < len(name) <= 64 or not name.isprintable():
        hint = N_("e.g. what will use it: ansible")
        raise GarageError(
            "invalid_field", N_("a token's name has 1 to 64 printable characters"), hint=hint, pointer=pointer
        )


def new(
    session: OrmSession,
    ctx: Context,
    user_id: str,
    name: str,
    days: float | None = None,
    scope: str = scopes.ALL,
) -> tuple[ApiToken, str]:
    """(the row, its secret); raises `quota_exceeded`."""
    secret, now = "garage_" + secrets.token_urlsafe(32), ctx.clock()
    _make_room(session, user_id, now)
    row = ApiToken(
        id=ctx.new_id(),
        hash=digest(secret),
        user_id=user_id,
        name=name,
        created_at=now,
        expires_at=now + days * 86_400 if days else None,
        scope=scope,
    )
    session.add(row)
    return row, secret


def _make_room(session: OrmSession, user_id: str, now: float) -> None:
    """Those that are over go once there are too many: a program that makes a short-lived one a day needs no gardener."""
    theirs = ApiToken.user_id == user_id
    count = select(func.count()).select_from(ApiToken).where(theirs)
    if (session.scalar(count) or 0) >= MOST:
        session.execute(sql_delete(ApiToken).where(theirs, ApiToken.expires_at <= now))
        if (session.scalar(count) or 0) >= MOST:
            hint = N_("delete one you no longer use")
            raise GarageError("quota_exceeded", N_("there are {limit} tokens already"), hint=hint, limit=MOST)


def remember_servers_own(ctx: Context, secret: str) -> None:
    """`secret` is in a file that root alone reads, and root may make one-time links: no password speaks for or against it."""
    with ctx.db.write() as session:
        session.merge(Setting(key=accounts.SERVERS_OWN, value=digest(secret)))


def listing(ctx: Context, caller: Caller) -> list[TokenView]:
    with ctx.db.read() as session:
        query = select(ApiToken).where(ApiToken.user_id == caller.user_id).order_by(ApiToken.id)
        return [view(row) for row in session.scalars(query)]


def delete(ctx: Context, caller: Caller, token_id: str) -> None:
    with ctx.db.write() as session:
        row = session.get(ApiToken, token_id)
        if row is None or row.user_id != caller.user_id:
            hint = N_("“garage token list” shows yours")
            raise GarageError("not_found", N_("there is no token {id}"), hint=hint, id=token_id[:64])
        session.delete(row)
        audit(session, ctx, caller.name, "token.delete", row.name, id=row.id)


def view(row: ApiToken) -> TokenView:
    return TokenView(row.id, row.name, row.created_at, row.expires_at, row.scope)
