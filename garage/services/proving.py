"""A fresh proof that whoever holds a session is who signed in. It is asked for before anything that would let somebody in for longer than
the session: another second factor, a new password, an API token, a connected account. A cookie that was stolen, or a browser that was
left open, is not enough for these.

Signing in is a proof; by a provider where that asked who it is, not where a session was open there (`core.openid.proved_at`). Where
there is a password it is that, and with a second factor a code or key as well; without a password the second factor alone; without
either one signs in at the provider once more.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.orm import Session as OrmSession

from garage.db.models import LoginFailure, Session, User
from garage.errors import N_, GarageError
from garage.services import accounts, passkeys, second_factor
from garage.services.context import Caller, Context, audit
from garage.services.passkeys import Answer, Asked
from garage.services.vault import digest

RECENT = 600.0
"""Seconds for which a proof counts."""


@dataclass(frozen=True, slots=True)
class Ways:
    """What somebody proves themselves by. `factor`: a code of `app` or a recovery code, or `key`'s answer."""

    password: bool
    factor: bool
    app: bool
    key: Asked | None
    provider: bool
    """By signing in there once more: they have nothing else here."""


def is_recent(ctx: Context, cookie: str) -> bool:
    """Whether the session of `cookie` was proved lately."""
    with ctx.db.read() as session:
        query = select(Session.proved_at).where(Session.hash == digest(cookie), Session.expires_at > ctx.clock())
        at = session.scalar(query)
        return at is not None and ctx.clock() - at < RECENT


def require(ctx: Context, cookie: str) -> None:
    """Raises `proof_needed`."""
    if not is_recent(ctx, cookie):
        hint = N_("open {url}/account/proof, and do it again within {minutes} minutes")
        text = N_("you signed in a while ago: show once more that it is you")
        raise GarageError("proof_needed", text, hint=hint, url=ctx.config.outside, minutes=round(RECENT / 60))


def ways(ctx: Context, caller: Caller) -> Ways:
    with ctx.db.read() as session:
        password = bool(session.get_one(User, caller.user_id).password_hash)
        factor = second_factor.has(session, caller.user_id)
        app, key = second_factor.has_app(session, caller.user_id), passkeys.ask(session, ctx, caller.user_id)
        return Ways(password, factor, app, key, not password and not factor)


def prove(
    ctx: Context, caller: Caller, cookie: str, password: str, code: str, address: str, key: Answer | None = None
) -> None:
    """By all `ways` that the caller has. Raises `wrong_credentials`, `second_factor` where a code is missing, `too_many_attempts`, and
    `wrong_state` for whoever has nothing to prove themselves by here."""
    needed, stored = ways(ctx, caller), ""
    if needed.provider:
        hint = N_("sign out, and in again")
        raise GarageError("wrong_state", N_("you have neither a password nor a second factor here"), hint=hint)
    if needed.password:
        wrong = GarageError(
            "wrong_credentials", N_("the password is wrong"), hint=accounts.LINK_HINT, pointer="/password"
        )
        _, stored = accounts.proved(ctx, caller.name, password, address, wrong)
    else:
        second_factor.count_attempt(ctx, caller)
    with ctx.db.write() as session:
        user = accounts.still(session, ctx, caller.user_id, stored)
        if second_factor.has(session, user.id):
            _prove_factor(session, ctx, user, code, key, address)
        _mark(session, ctx, user, cookie)
        session.execute(delete(LoginFailure).where(LoginFailure.name == user.name))
        audit(session, ctx, user.name, "session.prove", user.name, address=address)


def _prove_factor(session: OrmSession, ctx: Context, user: User, code: str, key: Answer | None, address: str) -> None:
    if key is not None:
        second_factor.prove(session, ctx, user, "", key)
        return
    if accounts.prove_code(session, ctx, user, code) == "recovery":
        audit(session, ctx, user.name, "user.recovered", user.name, address=address)


def _mark(session: OrmSession, ctx: Context, user: User, cookie: str) -> None:
    row = session.get(Session, digest(cookie))
    if row is None or row.user_id != user.id:
        raise GarageError("not_signed_in", N_("sign in to see this page"))
    row.proved_at = ctx.clock()
