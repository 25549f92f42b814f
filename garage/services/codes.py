"""The second step of signing in: the password was right, or the provider has said who it is, and a code or a key is still missing."""

from __future__ import annotations

import json
from dataclasses import dataclass

from garage.db.models import User
from garage.errors import N_, GarageError
from garage.services import accounts, passkeys, second_factor
from garage.services.context import Caller, Context, audit
from garage.services.passkeys import Answer, Asked
from garage.services.vault import digest

PATIENCE = 300.0
"""Seconds between the password and the code."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody may prove themselves by; recovery codes always are."""

    app: bool
    key: Asked | None


def begin(ctx: Context, name: str, password: str, address: str, agent: str) -> tuple[str, str]:
    """(a session's cookie, "") where the password is enough, else ("", what `finish` takes with the code). Raises as `accounts.sign_in`."""
    user_id, stored = accounts.proved(ctx, name, password, address)
    with ctx.db.write() as session:
        user = accounts.still(session, ctx, user_id, stored)
        if second_factor.has(session, user.id):
            return "", passed(ctx, user)
        return accounts.let_in(session, ctx, user, address, agent), ""


def passed(ctx: Context, user: User, method: str = accounts.LOCALLY) -> str:
    """What `finish` takes from somebody who has proved all but the code."""
    said = [user.id, digest(user.password_hash), ctx.clock() + PATIENCE, method]
    return ctx.vault.lock(json.dumps(said).encode()).decode()


def asked(ctx: Context, passed: str) -> Wanted:
    """For the page between the two steps."""
    user_id = _read(ctx, passed)[0]
    with ctx.db.read() as session:
        return Wanted(second_factor.has_app(session, user_id), passkeys.ask(session, ctx, user_id))


def _read(ctx: Context, passed: str) -> tuple[str, str, float, str]:
    """(user id, digest of the password's hash, until when, method); of nobody where it is none of ours."""
    try:
        user_id, stored, until, method = json.loads(ctx.vault.unlock(passed.encode()))
    except (GarageError, ValueError):
        return "", "", 0.0, ""
    return str(user_id), stored, until, method


def finish(
    ctx: Context, passed: str, code: str, address: str, agent: str, *, key: Answer | None = None
) -> tuple[Caller, str]:
    """(who it is, the new session's cookie), by a code or by what a key said. Raises `wrong_credentials`, `too_many_attempts`, or
    `link_expired` after `PATIENCE`."""
    user_id, stored, until, method = _read(ctx, passed)
    with ctx.db.write() as session:
        user = accounts.by_id(session, user_id)
        if user is None or digest(user.password_hash) != stored or until < ctx.clock():
            raise GarageError("link_expired", N_("that took too long"), hint=N_("sign in once more"))
        accounts.count_attempt(
            session, ctx, user.name, address
        )  # in a transaction of its own: a wrong code counts, too
    with ctx.db.write() as session:
        user = accounts.still(session, ctx, user_id, user.password_hash)
        how = second_factor.prove(session, ctx, user, code, key)
        if how == "recovery":
            audit(session, ctx, user.name, "user.recovered", user.name, address=address)
        return accounts.whole(session, user), accounts.let_in(session, ctx, user, address, agent, method)
