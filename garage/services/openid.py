"""Coming in by an OpenID Connect provider: the authorization code flow with PKCE, state and nonce; the first time makes an account.

What is kept between going there and coming back is sealed in a cookie of that browser: nobody else can end what it began.
"""

from __future__ import annotations

import hmac
import itertools
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import delete, select
from sqlalchemy.orm import Session as OrmSession

from garage.core import openid
from garage.core.openid import METHOD, OpenId
from garage.db.models import LoginFailure, Project, User
from garage.db.people_models import Identity
from garage.errors import N_, GarageError
from garage.services import accounts, codes, second_factor
from garage.services.context import Caller, Context, audit

PATIENCE = 900.0
"""Seconds that somebody may take at the provider."""
PATH = "/sign-in/openid/back"
"""Where the provider sends people back to: the redirect URI is this path of `Config.outside`."""
AGAIN = N_("start again from the sign-in page")


class Provider(Protocol):
    """The provider, over HTTP. The composition root gives it. Both raise `openid_failed`, `unavailable`, `timeout` or `config`."""

    def address(self, redirect: str, state: str, nonce: str, verifier: str, oldest: int) -> str:
        """Where the browser goes to sign in; also who signed in there more than `oldest` seconds ago (0: everybody) is to be asked."""

    def redeem(self, code: str, redirect: str, nonce: str, verifier: str, now: float) -> Mapping[str, Any]:
        """The verified claims of whoever brought `code`; `now` in UTC seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the browser brings back from the provider, as it stands in the address."""

    state: str
    code: str = ""
    error: str = ""
    issuer: str = ""
    """`iss` of RFC 9207; empty where the provider does not say it."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A session's cookie, or what `codes.finish` takes with a code; both empty when an account was connected."""

    following: str
    cookie: str = ""
    passed: str = ""


@dataclass(frozen=True, slots=True)
class _Trip:
    """What the cookie of one sign-in holds."""

    state: str
    nonce: str
    verifier: str
    following: str
    user_id: str
    """Who wants their account connected; empty for a sign-in."""
    until: float
    again: bool

    @property
    def asked_at(self) -> float | None:
        """When the provider was told to ask anew, if it was."""
        return self.until - PATIENCE if self.again else None


def settings(ctx: Context) -> OpenId:
    """Raises `not_found` where nothing is set."""
    if ctx.config.openid is None:
        hint = N_("sign in with your name and password")
        raise GarageError("not_found", N_("this garage has no sign-in by OpenID Connect"), hint=hint)
    return ctx.config.openid


def begin(
    ctx: Context, provider: Provider, following: str, caller: Caller | None = None, *, again: bool = False
) -> tuple[str, str]:
    """(where the browser goes, the sealed cookie that it brings back). With a caller their account is connected in the end. `again`: the
    provider is to ask anew, whoever is signed in there (OpenID Connect Core, 3.1.2.1), and an answer without that is refused."""
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    url = provider.address(_redirect(ctx), state, nonce, verifier, 0 if again else accounts.SESSION_SECONDS)
    whose = caller.user_id if caller else ""
    trip = [METHOD, state, nonce, verifier, following, whose, ctx.clock() + PATIENCE, again]
    return url, ctx.vault.lock(json.dumps(trip).encode()).decode()


def finish(
    ctx: Context, provider: Provider, sealed: str, answer: Answer, address: str, agent: str, here: Caller | None = None
) -> Arrival:
    """Let in whoever comes back, or connect the account of the caller who is `here`. Raises `link_expired`, `forbidden`,
    `too_many_attempts`, `already_exists`, `openid_failed` and what the provider raises; then there is no session, and nothing was made."""
    if answer.error and not answer.state:  # some say no without it; nothing comes of that but a page
        _check_answer(ctx, answer)
    trip = _trip(ctx, sealed, answer)
    _check_answer(ctx, answer)
    attempt = f"openid {answer.state}"[:64]
    with ctx.db.write() as session:
        accounts.count_attempt(session, ctx, attempt, address)
    claims = provider.redeem(answer.code, _redirect(ctx), trip.nonce, trip.verifier, ctx.clock())
    proved_at = openid.proved_at(settings(ctx), claims, ctx.clock(), trip.asked_at)
    _check_admitted(ctx, claims, address)
    with ctx.db.write() as session:
        session.execute(delete(LoginFailure).where(LoginFailure.name == attempt))
        if trip.user_id:
            return _connect(session, ctx, trip, claims, here)
        user = _user_of(session, ctx, claims) or _make(session, ctx, claims)
        if not user.disabled:
            return _let_in(session, ctx, trip, user, address, agent, proved_at)
        audit(session, ctx, "garage", "session.refuse", user.name, address=address, method=METHOD)
    hint = N_("ask an admin of this garage")
    raise GarageError("forbidden", N_("the account {name} may not sign in any more"), hint=hint, name=user.name)


def _redirect(ctx: Context) -> str:
    return ctx.config.outside + PATH


def _trip(ctx: Context, sealed: str, answer: Answer) -> _Trip:
    """The one that this browser began, whose state the answer must bring along (RFC 6749, 10.12)."""
    try:
        kind, *rest = json.loads(ctx.vault.unlock(sealed.encode()))
        trip = _Trip(*rest)
    except (GarageError, ValueError, TypeError):
        kind, trip = "", _Trip("", "", "", "", "", 0.0, False)
    fits = kind == METHOD and hmac.compare_digest(trip.state.encode(), answer.state.encode())
    if not fits or trip.until < ctx.clock():
        text = N_("this sign-in was not begun in this browser, or too long ago")
        raise GarageError("link_expired", text, hint=AGAIN)
    return trip


def _check_answer(ctx: Context, answer: Answer) -> None:
    rules = settings(ctx)
    if answer.issuer and answer.issuer != rules.issuer:  # RFC 9207: it may be another provider's answer
        raise openid.untrue(rules.issuer, "the answer came from another issuer")
    if answer.error == "access_denied":
        text = N_("{provider} did not tell who you are: you or it said no")
        raise GarageError("forbidden", text, hint=AGAIN, provider=rules.called)
    if answer.error in ("server_error", "temporarily_unavailable"):
        hint = N_("try again in a few minutes")
        raise GarageError("unavailable", N_("{provider} has an error of its own"), hint=hint, provider=rules.called)
    if answer.error or not answer.code:
        said = re.sub(r"[^a-z_]", "", answer.error)[:40] or "no code"
        raise openid.untrue(rules.issuer, said)


def _check_admitted(ctx: Context, claims: Mapping[str, Any], address: str) -> None:
    """Each time: whoever has left the domain or group comes in no more."""
    try:
        openid.check_admitted(settings(ctx), claims)
    except GarageError:
        who = (openid.email(claims) or str(claims["sub"]))[:128]
        with ctx.db.write() as session:
            audit(session, ctx, "garage", "session.refuse", who, address=address, method=METHOD)
        raise


def _user_of(session: OrmSession, ctx: Context, claims: Mapping[str, Any]) -> User | None:
    bound = session.get(Identity, (settings(ctx).issuer, claims["sub"]))
    return session.get_one(User, bound.user_id) if bound else None


def _make(session: OrmSession, ctx: Context, claims: Mapping[str, Any]) -> User:
    """An account with its personal project. An equal name is somebody else's: this one gets a number."""
    user = accounts.add_user(session, ctx, _free_name(session, openid.base_name(claims)), "member")
    _bind(session, ctx, user, claims)
    audit(session, ctx, user.name, "user.arrive", user.name, **_said(ctx, claims))
    return user


def _free_name(session: OrmSession, base: str) -> str:
    beginning = base[:20]
    taken = set(session.scalars(select(User.name).where(User.name.startswith(beginning))))
    taken |= set(session.scalars(select(Project.name).where(Project.name.startswith(beginning))))
    return next(name for name in (openid.numbered(base, number) for number in itertools.count(1)) if name not in taken)


def _bind(session: OrmSession, ctx: Context, user: User, claims: Mapping[str, Any]) -> None:
    issuer = settings(ctx).issuer
    session.add(Identity(issuer=issuer, subject=claims["sub"], user_id=user.id, created_at=ctx.clock()))
    session.flush()


def _said(ctx: Context, claims: Mapping[str, Any]) -> dict[str, str]:
    """For the audit log: whose account it is over there."""
    return {"issuer": settings(ctx).issuer, "sub": claims["sub"], "email": openid.email(claims)}


def _let_in(
    session: OrmSession, ctx: Context, trip: _Trip, user: User, address: str, agent: str, proved_at: float
) -> Arrival:
    """A new session, whatever cookie the browser had; first a code of whoever has set up a second factor here, which is a fresh proof."""
    if settings(ctx).second_factor != "provider" and second_factor.has(session, user.id):
        return Arrival(trip.following, passed=codes.passed(ctx, user, METHOD))
    cookie = accounts.let_in(session, ctx, user, address, agent, METHOD, proved_at=proved_at)
    return Arrival(trip.following, cookie=cookie)


def _connect(session: OrmSession, ctx: Context, trip: _Trip, claims: Mapping[str, Any], here: Caller | None) -> Arrival:
    """The account of whoever began it and is still signed in in this browser."""
    user = accounts.by_id(session, trip.user_id)
    if user is None or here is None or here.user_id != user.id:
        text = N_("you are not signed in any more as who began this")
        raise GarageError("link_expired", text, hint=N_("sign in, and start again from your account page"))
    bound = session.get(Identity, (settings(ctx).issuer, claims["sub"]))
    mine = select(Identity).where(Identity.user_id == user.id, Identity.issuer == settings(ctx).issuer)
    if bound is None and session.scalars(mine).first() is None:
        _bind(session, ctx, user, claims)
        audit(session, ctx, user.name, "user.connect", user.name, **_said(ctx, claims))
        return Arrival(trip.following)
    if bound is not None and bound.user_id == user.id:
        return Arrival(trip.following)
    text = N_("that account of {provider} belongs to another member here, or yours has one already")
    hint = N_("sign in with it instead, or disconnect yours first")
    raise GarageError("already_exists", text, hint=hint, provider=settings(ctx).called)


def connected(ctx: Context, caller: Caller) -> bool:
    """Whether they sign in by the provider that is set."""
    with ctx.db.read() as session:
        return ctx.config.openid is not None and _mine(session, ctx, caller) is not None


def disconnect(ctx: Context, caller: Caller) -> None:
    """They sign in with their password alone; raises `wrong_state` for somebody who has none: nothing would let them in."""
    with ctx.db.write() as session:
        if (mine := _mine(session, ctx, caller)) is None:
            return
        if not session.get_one(User, caller.user_id).password_hash:
            text, hint = (
                N_("you have no password: nothing else lets you in"),
                N_("an admin can send you a link to set one"),
            )
            raise GarageError("wrong_state", text, hint=hint)
        session.delete(mine)
        audit(session, ctx, caller.name, "user.disconnect", caller.name, issuer=mine.issuer)


def _mine(session: OrmSession, ctx: Context, caller: Caller) -> Identity | None:
    query = select(Identity).where(Identity.user_id == caller.user_id, Identity.issuer == settings(ctx).issuer)
    return session.scalars(query).first()
