"""A second factor of local accounts: codes of an authenticator app (TOTP, RFC 6238), security keys and passkeys (`passkeys`), and recovery
codes for when neither is at hand."""

from __future__ import annotations

import base64
import hmac
import json
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session as OrmSession

from garage.core import openid
from garage.db.models import Session, User
from garage.db.people_models import Passkey, RecoveryCode, SecondFactor
from garage.errors import N_, GarageError
from garage.services import passkeys
from garage.services.context import Caller, Context, audit
from garage.services.grants import Granted
from garage.services.passkeys import Answer
from garage.services.rights import require_admin
from garage.services.vault import digest

if TYPE_CHECKING:
    import pyotp

STEP = 30
"""Seconds that a code is good for; one step before and after is taken too, for clocks that differ (RFC 6238, 5.2)."""
NEAR = (-1, 0, 1)
CODES = 10
ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
"""Of recovery codes: no letter that looks like another; 16 of them hold 79 bits, so that a plain hash is enough."""
ENROL_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Offer:
    """A secret that is nobody's yet. `sealed` comes back with the first code; until then nothing is kept."""

    secret: str
    uri: str
    sealed: str


def required(ctx: Context, trusted: bool) -> bool:
    """Whether somebody needs one, by the setting `second_factor`: "admins" means all who are `trusted` with more than their own."""
    return ctx.config.second_factor == "all" or (ctx.config.second_factor == "admins" and trusted)


def excused(ctx: Context, trusted: bool, method: str) -> bool:
    """Whether whoever opened a session that way needs none of ours: the OpenID Connect provider answers for members, and by its
    setting `second_factor` for admins, auditors and operators, too."""
    settings = ctx.config.openid
    return method == openid.METHOD and settings is not None and (not trusted or settings.second_factor == "provider")


def has(session: OrmSession, user_id: str) -> bool:
    return has_app(session, user_id) or passkeys.has(session, user_id)


def has_app(session: OrmSession, user_id: str) -> bool:
    """Whether they have an authenticator app, perhaps beside keys."""
    return session.get(SecondFactor, user_id) is not None


def has_own_app(ctx: Context, caller: Caller) -> bool:
    with ctx.db.read() as session:
        return has_app(session, caller.user_id)


def offer(ctx: Context, caller: Caller) -> Offer:
    """A new secret, to be scanned by an app."""
    secret = base64.b32encode(secrets.token_bytes(20)).decode()  # as long as SHA-1's output (RFC 4226, section 4)
    until = ctx.clock() + ENROL_SECONDS
    return Offer(
        secret, _uri(ctx, caller, secret), ctx.vault.lock(json.dumps([caller.user_id, secret, until]).encode()).decode()
    )


def offered(ctx: Context, caller: Caller, sealed: str) -> Offer:
    """What an offer's `sealed` says; raises `wrong_state` for another's and an old one."""
    try:
        user_id, secret, until = json.loads(ctx.vault.unlock(sealed.encode()))
    except (GarageError, ValueError):
        user_id, secret, until = "", "", 0.0
    if user_id != caller.user_id or until < ctx.clock():
        raise GarageError(
            "wrong_state", N_("this set-up is too old"), hint=N_("load the page again, and scan the new code")
        )
    return Offer(secret, _uri(ctx, caller, secret), sealed)


def _uri(ctx: Context, caller: Caller, secret: str) -> str:
    organisation = ctx.config.organisation
    issuer = "garage" if organisation == "garage" else f"garage {organisation}"
    return _totp(secret).provisioning_uri(name=caller.name, issuer_name=issuer)


def _totp(secret: str) -> pyotp.TOTP:
    import pyotp  # when it is needed: few requests do

    return pyotp.TOTP(secret, interval=STEP)


def enrol(ctx: Context, caller: Caller, sealed: str, code: str, *, cookie: str = "") -> list[str]:
    """Keep the offered secret, since the app shows its code; returns recovery codes, shown this once, where there are none yet. With the
    first factor all sessions but that of `cookie` end."""
    secret = offered(ctx, caller, sealed).secret
    with ctx.db.write() as session:
        if has_app(session, caller.user_id):
            hint = N_("remove it first, with one of its codes")
            raise GarageError("already_exists", N_("you have an authenticator app already"), hint=hint)
        if (step := _step_of(secret, code, ctx.clock(), 0)) is None:
            raise _wrong()
        _close_others(session, caller.user_id, cookie)
        kept = ctx.vault.lock(secret.encode())
        session.add(SecondFactor(user_id=caller.user_id, secret=kept, last_step=step, created_at=ctx.clock()))
        audit(session, ctx, caller.name, "user.second_factor", caller.name)
        return _first_codes(session, caller.user_id)


def enrol_key(ctx: Context, caller: Caller, name: str, answer: Answer, *, cookie: str = "") -> list[str]:
    """Keep a security key or passkey that answered `passkeys.offer`; recovery codes and sessions as `enrol`."""
    with ctx.db.write() as session:
        _close_others(session, caller.user_id, cookie)
        passkeys.keep(session, ctx, caller, name, answer)
        audit(session, ctx, caller.name, "user.passkey", caller.name, key=name)
        return _first_codes(session, caller.user_id)


def _close_others(session: OrmSession, user_id: str, cookie: str) -> None:
    """Whoever learnt the password before there was a factor may have a session; it would be worth what the factor gives."""
    if not has(session, user_id):
        session.execute(delete(Session).where(Session.user_id == user_id, Session.hash != digest(cookie)))


def remove_key(ctx: Context, caller: Caller, ref: str, code: str, key: Answer | None = None) -> None:
    """One's own, with a code or one of one's keys."""
    count_attempt(ctx, caller)
    with ctx.db.write() as session:
        row = passkeys.named(session, caller, ref)
        prove(session, ctx, session.get_one(User, caller.user_id), code, key)
        session.delete(row)
        audit(session, ctx, caller.name, "user.no_passkey", caller.name, key=row.name)
        session.flush()
        _forget_codes(session, caller.user_id)


def renew_codes(ctx: Context, caller: Caller, code: str, key: Answer | None = None) -> list[str]:
    """New recovery codes instead of the old ones; takes a code, or a key's answer."""
    count_attempt(ctx, caller)
    with ctx.db.write() as session:
        prove(session, ctx, session.get_one(User, caller.user_id), code, key)
        audit(session, ctx, caller.name, "user.recovery_codes", caller.name)
        return _new_codes(session, caller.user_id)


def remove(ctx: Context, caller: Caller, code: str, key: Answer | None = None) -> None:
    """One's own authenticator app, with a code or a key; whoever needs a second factor and has none left is led to the set-up again."""
    count_attempt(ctx, caller)
    with ctx.db.write() as session:
        prove(session, ctx, session.get_one(User, caller.user_id), code, key)
        session.execute(delete(SecondFactor).where(SecondFactor.user_id == caller.user_id))
        _forget_codes(session, caller.user_id)
        audit(session, ctx, caller.name, "user.no_second_factor", caller.name)


def count_attempt(ctx: Context, caller: Caller) -> None:
    """Codes are few: trying them counts as signing in does."""
    from garage.services import accounts  # it needs this module to sign people in

    with ctx.db.write() as session:
        accounts.count_attempt(session, ctx, caller.name, "")


def reset(ctx: Context, caller: Caller, name: str) -> None:
    """Of somebody who has lost both phone and recovery codes, by an admin; their sessions go on."""
    require_admin(caller)
    with ctx.db.write() as session:
        user = session.scalars(select(User).where(User.name == name)).first()
        if user is None:
            text, hint = N_("there is no user {name}"), N_("“garage user list” shows them")
            raise GarageError("not_found", text, hint=hint, name=name[:64])
        if user.id == caller.user_id:
            hint = N_(
                "the account page takes a code or a key for it; with neither, on the server: garage-server reset-factor"
            )
            raise GarageError("in_use", N_("nobody takes off their own second factor in this way"), hint=hint)
        forget(session, user.id)
        audit(session, ctx, caller.name, "user.no_second_factor", name)


def _forget_codes(session: OrmSession, user_id: str) -> None:
    """Without a factor there is nothing to recover."""
    if not has(session, user_id):
        session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))


def forget(session: OrmSession, user_id: str) -> None:
    """All that they have of it."""
    for table in (SecondFactor, RecoveryCode, Passkey):
        session.execute(delete(table).where(table.user_id == user_id))


def codes_left(ctx: Context, caller: Caller) -> int | None:
    """How many recovery codes are unused; None without a second factor."""
    with ctx.db.read() as session:
        if not has(session, caller.user_id):
            return None
        return session.scalar(select(func.count()).where(RecoveryCode.user_id == caller.user_id)) or 0


def prove(session: OrmSession, ctx: Context, user: User, code: str, key: Answer | None = None) -> str:
    """Use a code or a key's answer up: "totp", "recovery" or "passkey" by which it was. Each is good once; raises `wrong_credentials`."""
    if key is not None:
        passkeys.prove(session, ctx, user, key)
        return "passkey"
    row = session.get(SecondFactor, user.id)
    step = _step_of(ctx.vault.unlock(row.secret).decode(), code, ctx.clock(), row.last_step) if row else None
    if row is not None and step is not None:
        row.last_step = step
        return "totp"
    used = delete(RecoveryCode).where(RecoveryCode.user_id == user.id, RecoveryCode.hash == digest(_plain(code)))
    if session.execute(used).rowcount:  # type: ignore[attr-defined]
        return "recovery"
    raise _wrong()


def _step_of(secret: str, code: str, now: float, last: int) -> int | None:
    """The step of which `code` is, later than `last`; None where it is of no near one."""
    totp, plain, present = _totp(secret), code.replace(" ", ""), int(now // STEP)
    for step in (present + near for near in NEAR):
        if hmac.compare_digest(totp.generate_otp(step).encode(), plain.encode()) and step > last:
            return step
    return None


def _first_codes(session: OrmSession, user_id: str) -> list[str]:
    """None where there are some: they go on."""
    if session.scalar(select(RecoveryCode.hash).where(RecoveryCode.user_id == user_id).limit(1)):
        return []
    return _new_codes(session, user_id)


def _new_codes(session: OrmSession, user_id: str) -> list[str]:
    session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
    codes = ["-".join(_word() for _ in range(4)) for _ in range(CODES)]
    session.add_all(RecoveryCode(hash=digest(_plain(code)), user_id=user_id) for code in codes)
    return codes


def _word() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(4))


def _plain(code: str) -> str:
    return "".join(c for c in code.lower() if c.isalnum())


def _wrong() -> GarageError:
    hint = N_("each code works once; wait for the next one, and look whether the phone's clock is right")
    return GarageError("wrong_credentials", N_("the code is wrong, or was used already"), hint=hint, pointer="/code")


def missing(session: OrmSession, ctx: Context, users: Mapping[str, Granted]) -> frozenset[str]:
    """The ids of those who need a second factor and have none yet."""
    need = [user_id for user_id, granted in users.items() if required(ctx, granted.trusted)]
    if not need:
        return frozenset()
    return frozenset(need) - having(session, need)


def having(session: OrmSession, user_ids: Collection[str]) -> set[str]:
    """Which of them have a second factor."""
    tables = SecondFactor, Passkey
    return {
        found for table in tables for found in session.scalars(select(table.user_id).where(table.user_id.in_(user_ids)))
    }
