"""People: passwords (argon2id), sessions, one-time links, attempts."""

from __future__ import annotations

import secrets
import threading
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import Session as OrmSession

from garage.core import names, scopes
from garage.core.rates import network
from garage.db.models import ApiToken, Invitation, LoginFailure, Membership, Project, Session, Setting, User
from garage.db.people_models import Identity, RoleGrant, ServiceAccount
from garage.errors import N_, GarageError
from garage.services import grants, keys, second_factor
from garage.services.context import Caller, Context, audit
from garage.services.grants import Granted
from garage.services.rights import require_admin, require_reader
from garage.services.vault import digest
from garage.services.views import GrantView, UserView

SESSION_SECONDS = 14 * 86_400
INVITATION_SECONDS = 3 * 86_400
ATTEMPT_WINDOW = 900.0
ATTEMPTS_PER_NAME = 10
ATTEMPTS_PER_ADDRESS = 50
"""OWASP's advice is to limit both: many passwords for one name, and one password for many names."""
MIN_PASSWORD, MAX_PASSWORD = 10, 200
_HASHER = PasswordHasher()
"""argon2-cffi's defaults: RFC 9106's low-memory profile (argon2id, 64 MiB, t=3, p=4)."""
SERVERS_OWN = "server_token"
"""The setting with the hash of the token in `admin.token`."""
LOCALLY = "password"
"""How a session was opened: this way, or by `core.openid.METHOD`."""
LINK_HINT = N_("an admin can send you a link to set a new password")

OPENID_HINT = N_(
    "who signs in by {provider} needs none: take the button, or for “garage login --token-stdin” a token of your account page; "
    "else an admin can send you a link to set a new password"
)


@cache
def _nobody() -> str:
    """A hash that no password has: a name that does not exist is looked up for as long as one that does. Made once, at the first
    sign-in rather than at each start of a process."""
    return _HASHER.hash(secrets.token_urlsafe(32))


def sign_in(
    ctx: Context, name: str, password: str, address: str, agent: str = "", code: str = ""
) -> tuple[Caller, str]:
    """(who it is, the new session's cookie value); raises `wrong_credentials`, `second_factor` or `too_many_attempts`. `address` is the
    client's IP, `agent` what its browser calls itself. Pages ask in two steps: `codes.begin` and `finish`."""
    user_id, stored = proved(ctx, name, password, address)
    with ctx.db.write() as session:
        user = still(session, ctx, user_id, stored)
        if second_factor.has(session, user.id):
            prove_code(session, ctx, user, code)
        return whole(session, user), let_in(session, ctx, user, address, agent)


def let_in(
    session: OrmSession,
    ctx: Context,
    user: User,
    address: str,
    agent: str,
    method: str = LOCALLY,
    *,
    proved_at: float | None = None,
) -> str:
    """The cookie of a new session of somebody who has proved all that is asked for; `proved_at`, as for `open_session`."""
    session.execute(delete(LoginFailure).where(LoginFailure.name == user.name))
    audit(session, ctx, user.name, "session.open", user.name, address=address, method=method)
    return open_session(session, ctx, user, address, agent, method, proved_at=proved_at)


def prove_code(session: OrmSession, ctx: Context, user: User, code: str) -> str:
    """As `second_factor.prove`; raises `second_factor` where there is no code."""
    if not code:
        hint = N_("send it along: it is on your phone, or one of your recovery codes")
        if not second_factor.has_app(session, user.id):
            hint = N_(
                "send one of your recovery codes, or take a token of your account page: garage login --token-stdin"
            )
        raise GarageError(
            "second_factor", N_("a code of your authenticator app is needed, too"), hint=hint, pointer="/code"
        )
    return second_factor.prove(session, ctx, user, code)


def change_password(ctx: Context, caller: Caller, current: str, new: str, address: str, agent: str = "") -> str:
    """Set one's own password; all sessions end, the answer is the cookie of a new one. API tokens stay: they have lists and ends
    of their own, and nobody suspects them here (`accept_invitation` ends them). Raises as `sign_in` does, and `invalid_field`."""
    _check_password(new)
    wrong = GarageError("wrong_credentials", N_("the current password is wrong"), hint=LINK_HINT, pointer="/current")
    user_id, stored = proved(ctx, caller.name, current, address, wrong)
    with _HASHING:
        hashed = _HASHER.hash(new)
    with ctx.db.write() as session:
        user = still(session, ctx, user_id, stored)
        user.password_hash = hashed
        for table in (Session, Invitation):
            session.execute(delete(table).where(table.user_id == user.id))
        session.execute(delete(LoginFailure).where(LoginFailure.name == user.name))
        audit(session, ctx, user.name, "user.set_password", user.name, address=address)
        return open_session(session, ctx, user, address, agent)


def proved(ctx: Context, name: str, password: str, address: str, wrong: GarageError | None = None) -> tuple[str, str]:
    """(user id, the hash that `password` fits); raises `wrong` (by default `wrong_credentials`) or `too_many_attempts`."""
    with ctx.db.write() as session:
        count_attempt(session, ctx, name, address)
        user = session.scalars(select(User).where(User.name == name)).first()
        stored = user.password_hash if user and user.password_hash and not user.disabled else _nobody()
    # the attempt counts before the slow hash, so that many at a time cannot slip past the limit
    if not _verify(stored, password) or user is None or stored == _nobody():
        with ctx.db.write() as session:  # never the name as it was typed: it may be a password
            audit(session, ctx, "garage", "session.refuse", user.name if user else "", address=address, method=LOCALLY)
        raise wrong or _wrong_credentials(ctx)
    return user.id, stored


def still(session: OrmSession, ctx: Context, user_id: str, stored: str) -> User:
    """The user, unless they or their password changed during the slow hash."""
    user = session.get(User, user_id)
    if user is None or user.disabled or user.password_hash != stored:
        raise _wrong_credentials(ctx)
    return user


def _wrong_credentials(ctx: Context) -> GarageError:
    text, provider = N_("name or password is wrong"), ctx.config.openid
    if provider is None:
        return GarageError("wrong_credentials", text, hint=LINK_HINT)
    return GarageError("wrong_credentials", text, hint=OPENID_HINT, provider=provider.called)


def count_attempt(session: OrmSession, ctx: Context, name: str, address: str) -> None:
    """One more of a name, and of an address (an IPv6 /64); raises `too_many_attempts`. Commit before what is slow or may be wrong."""
    address = network(address)
    _check_attempts(session, ctx, name, address)
    session.add(LoginFailure(name=name[:64], address=address[:64], at=ctx.clock()))


def by_id(session: OrmSession, user_id: str) -> User | None:
    """A user who may sign in."""
    user = session.get(User, user_id)
    return user if user and not user.disabled else None


def _check_attempts(session: OrmSession, ctx: Context, name: str, address: str) -> None:
    since = ctx.clock() - ATTEMPT_WINDOW
    session.execute(delete(LoginFailure).where(LoginFailure.at < since))
    for column, value, limit in (
        (LoginFailure.name, name, ATTEMPTS_PER_NAME),
        (LoginFailure.address, address, ATTEMPTS_PER_ADDRESS),
    ):
        count = session.scalar(select(func.count()).where(column == value[:64])) or 0
        if count >= limit and value:  # who is signed in is counted by their name alone
            raise GarageError(
                "too_many_attempts",
                N_("too many attempts; wait {minutes} minutes"),
                hint=LINK_HINT,
                minutes=round(ATTEMPT_WINDOW / 60),
            )


_HASHING = threading.BoundedSemaphore(2)
"""argon2 takes 64 MiB a time: many sign-ins at once wait instead of filling the server."""


def _verify(stored: str, password: str) -> bool:
    try:
        with _HASHING:
            return _HASHER.verify(stored, password[:MAX_PASSWORD])
    except (VerifyMismatchError, InvalidHashError):
        return False


def open_session(
    session: OrmSession,
    ctx: Context,
    user: User,
    address: str,
    agent: str,
    method: str = LOCALLY,
    *,
    proved_at: float | None = None,
) -> str:
    """A new session's cookie. `proved_at`: when somebody last showed that it is them, in UTC seconds since 1970; default now."""
    cookie = secrets.token_urlsafe(32)
    now = ctx.clock()
    session.execute(delete(Session).where(Session.expires_at < now))
    proved_at = now if proved_at is None else proved_at
    where = {"address": address[:64], "agent": agent[:200], "method": method, "proved_at": proved_at}
    session.add(
        Session(hash=digest(cookie), user_id=user.id, created_at=now, expires_at=now + SESSION_SECONDS, **where)
    )
    return cookie


def by_session(ctx: Context, cookie: str) -> tuple[Caller, UserView] | None:
    """Who holds this session cookie, None when it is unknown, expired or its user disabled."""
    with ctx.db.read() as session:
        query = select(User, Session.method, grants.SOME).join(Session, Session.user_id == User.id)
        row = session.execute(query.where(Session.hash == digest(cookie), Session.expires_at > ctx.clock())).first()
        if row is None or row[0].disabled:
            return None
        user, method, some = row
        granted = grants.of_some(session, user, some)
        excused = second_factor.excused(ctx, granted.trusted, method)
        lacks = not excused and bool(second_factor.missing(session, ctx, {user.id: granted}))
        return by_password(user, granted, lacks), replace(user_view(user), lacks_factor=lacks)


def with_factor(ctx: Context, caller: Caller, user: UserView) -> Caller:
    """Who `by_session` says it is; raises `second_factor` for whoever must set one up first, as all pages but that one do."""
    if user.lacks_factor:
        raise no_factor(ctx)
    return caller


def no_factor(ctx: Context) -> GarageError:
    hint = N_("sign in on the page {url} once, it leads you through that")
    return GarageError("second_factor", N_("you need a second factor first"), hint=hint, url=ctx.config.outside)


def sign_out(ctx: Context, cookie: str) -> None:
    with ctx.db.write() as session:
        session.execute(delete(Session).where(Session.hash == digest(cookie)))


def set_locale(ctx: Context, caller: Caller, locale: str) -> None:
    """Remember "ja" or "en" for the user; "" lets the browser choose."""
    with ctx.db.write() as session:
        session.get_one(User, caller.user_id).locale = locale


def create_user(ctx: Context, caller: Caller, name: str, *, role: str = "member") -> tuple[UserView, str]:
    """(the new user, a one-time link token by which they set a password). Each user gets a personal project of the same name."""
    require_admin(caller)
    names.check_actor(name, field="name")
    if role not in ("admin", "member"):
        hint = N_("an admin manages the whole garage, a member uses machines")
        raise GarageError("invalid_field", N_("a role is admin or member"), hint=hint, pointer="/role")
    with ctx.db.write() as session:
        user = add_user(session, ctx, name, role)
        audit(session, ctx, caller.name, "user.create", name, role=role)
        return user_view(user), _invite(session, ctx, user)


def check_free(session: OrmSession, name: str) -> None:
    """No user and no project has that name; raises `already_exists`."""
    if session.scalar(select(User.id).where(User.name == name)) or session.scalar(
        select(Project.id).where(Project.name == name)
    ):
        raise GarageError(
            "already_exists", N_("the name {name} is taken"), hint=N_("take another name"), pointer="/name", name=name
        )


def add_user(session: OrmSession, ctx: Context, name: str, role: str) -> User:
    """The rows of a user and their personal project; raises `already_exists`."""
    check_free(session, name)
    user = User(id=ctx.new_id(), name=name, role=role, created_at=ctx.clock())
    session.add(user)
    session.flush()
    quota = {f"quota_{key}": value for key, value in ctx.config.quota.items()}
    project = Project(id=ctx.new_id(), name=name, personal_of=user.id, created_at=ctx.clock(), **quota)
    session.add(project)
    session.flush()
    session.add(Membership(project_id=project.id, user_id=user.id, role="owner"))
    session.flush()
    return user


def list_users(ctx: Context, caller: Caller) -> list[UserView]:
    """All of them (admin or auditor)."""
    require_reader(caller)
    with ctx.db.read() as session:
        return user_views(session, session.scalars(select(User).where(still_here()).order_by(User.name)).all())


def still_here() -> ColumnElement[bool]:
    """A condition on users: not gone. One who is gone, but whom rows still refer to, is named "~" and their id."""
    return ~User.name.startswith("~")


def user_views(session: OrmSession, users: Iterable[User]) -> list[UserView]:
    """With whose service accounts they are, whether they have a second factor, whether they sign in by OpenID Connect, and their roles."""
    query = select(ServiceAccount.user_id, Project.name).join(Project, Project.id == ServiceAccount.project_id)
    services = dict(session.execute(query).all())
    users = list(users)
    second = second_factor.having(session, [user.id for user in users])
    bound = set(session.scalars(select(Identity.user_id)))
    roles: dict[str, list[RoleGrant]] = defaultdict(list)
    for row in session.scalars(select(RoleGrant).order_by(RoleGrant.role, RoleGrant.site)):
        roles[row.user_id].append(row)
    return [
        replace(
            user_view(user, services.get(user.id, ""), user.id in second, user.id in bound),
            grants=[GrantView(row.role, row.site) for row in roles[user.id]],
        )
        for user in users
    ]


def find(ctx: Context, caller: Caller, name: str) -> UserView:
    """By name; raises `not_found` (admin)."""
    require_admin(caller)
    with ctx.db.read() as session:
        return user_views(session, [named(session, name)])[0]


def reset_link(ctx: Context, caller: Caller, name: str) -> str:
    """A one-time link token for a user who has lost their password; their old one stays valid until it is used. Raises `wrong_state`."""
    require_admin(caller)
    with ctx.db.write() as session:
        user = named(session, name)
        if user.disabled:
            hint = N_("enable them first; then the link leads somewhere")
            raise GarageError("wrong_state", N_("{name} is disabled"), hint=hint, name=name)
        if session.get(ServiceAccount, user.id):
            hint = N_("an owner of its project makes tokens for it")
            raise GarageError(
                "wrong_state", N_("{name} is a service account: it has no password"), hint=hint, name=name
            )
        audit(session, ctx, caller.name, "user.reset_link", name)
        return _invite(session, ctx, user)


def set_disabled(ctx: Context, caller: Caller, name: str, disabled: bool) -> UserView:
    """A disabled user can sign in nowhere; their sessions and tokens end at once, running machines forget their keys."""
    require_admin(caller)
    with ctx.db.write() as session:
        user = named(session, name)
        if user.id == caller.user_id:
            raise GarageError("in_use", N_("you cannot disable yourself"), hint=N_("ask another admin"))
        user.disabled = disabled
        if disabled:
            _end_all(session, user)
        session.flush()
        keys.refresh_machines(session, user.id)
        audit(session, ctx, caller.name, "user.disable" if disabled else "user.enable", name)
        return user_view(user)


def _end_all(session: OrmSession, user: User) -> None:
    for table in (Session, ApiToken, Invitation):
        session.execute(delete(table).where(table.user_id == user.id))


def invited(ctx: Context, token: str) -> UserView:
    """Whose one-time link this is; raises `link_expired`."""
    with ctx.db.read() as session:
        return user_view(session.get_one(User, _invitation(session, ctx, token).user_id))


def accept_invitation(ctx: Context, token: str, password: str, address: str, agent: str = "") -> tuple[Caller, str]:
    """Set the password and sign in: (caller, session cookie). The link is used up. Where there was a password before, somebody else may
    have had it: all older sessions and API tokens of the user end, but the server's own. No cookie for whoever has a second factor: a link
    is only the first one."""
    _check_password(password)
    with _HASHING:
        hashed = _HASHER.hash(password)
    with ctx.db.write() as session:
        invitation = _invitation(session, ctx, token)
        user = session.get_one(User, invitation.user_id)
        if user.password_hash:
            session.execute(delete(Session).where(Session.user_id == user.id))
            kept = select(Setting.value).where(Setting.key == SERVERS_OWN)
            session.execute(delete(ApiToken).where(ApiToken.user_id == user.id, ApiToken.hash.not_in(kept)))
        invitation.used_at, user.password_hash = ctx.clock(), hashed
        session.execute(delete(LoginFailure).where(LoginFailure.name == user.name))
        audit(session, ctx, user.name, "user.set_password", user.name, address=address)
        if second_factor.has(session, user.id):
            return whole(session, user), ""
        return whole(session, user), open_session(session, ctx, user, address, agent)


def _check_password(password: str) -> None:
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise GarageError(
            "invalid_field",
            N_("a password has {low} to {high} characters"),
            hint=N_("four random words are easy to remember and hard to guess"),
            pointer="/password",
            low=MIN_PASSWORD,
            high=MAX_PASSWORD,
        )


def _invite(session: OrmSession, ctx: Context, user: User) -> str:
    token = secrets.token_urlsafe(32)
    session.execute(delete(Invitation).where(Invitation.user_id == user.id))
    session.add(Invitation(hash=digest(token), user_id=user.id, expires_at=ctx.clock() + INVITATION_SECONDS))
    return token


def _invitation(session: OrmSession, ctx: Context, token: str) -> Invitation:
    found = session.get(Invitation, digest(token))
    if found is None or found.used_at is not None or found.expires_at <= ctx.clock():
        raise GarageError(
            "link_expired", N_("this link was used or has expired"), hint=N_("ask an admin for a new one")
        )
    return found


def named(session: OrmSession, name: str) -> User:
    """By name; raises `not_found`."""
    if user := session.scalars(select(User).where(User.name == name)).first():
        return user
    raise GarageError(
        "not_found", N_("there is no user {name}"), hint=N_("“garage user list” shows them"), name=name[:64]
    )


def whole(session: OrmSession, user: User) -> Caller:
    """The user, with all their rights."""
    return caller_of(user, grants.of_one(session, user), scopes.ALL)


def by_password(user: User, granted: Granted, lacks_factor: bool) -> Caller:
    """Whoever needs a second factor and has none is a member and no more until they have one."""
    return _caller(user, Granted() if lacks_factor else granted, scopes.ALL)


def caller_of(user: User, granted: Granted, scope: str) -> Caller:
    """The user, with what a credential of this scope leaves them of their rights."""
    return _caller(user, granted if scopes.keeps_admin(scope) else Granted(), scope)


def _caller(user: User, granted: Granted, scope: str) -> Caller:
    return Caller(user.id, user.name, granted.admin, scope, granted.auditor, granted.sites)


def user_view(user: User, service_of: str = "", second: bool = False, openid: bool = False) -> UserView:
    return UserView(
        user.id,
        user.name,
        user.role,
        user.disabled,
        bool(user.password_hash),
        user.created_at,
        user.locale,
        service_of,
        second,
        openid=openid,
    )
