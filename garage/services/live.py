"""What open streams depend on, read in one transaction however many streams there are."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session as OrmSession

from garage.core.states import State
from garage.db.models import ApiToken, EventRow, Machine, Membership, Node, Session, User
from garage.services import grants, second_factor
from garage.services.accounts import by_password, caller_of
from garage.services.context import Caller, Context
from garage.services.events import EventView, event_view

MAX_EVENTS = 1000
"""Events taken in one look; the rest is read by the next."""
CARRIED = frozenset({State.READY.value, State.BOOTING.value, State.UNREACHABLE.value, State.STOPPING.value})
"""States in which an SSH stream lives on: an unreachable node may be one whose libvirt alone is away."""


@dataclass(frozen=True, slots=True)
class Credential:
    """By what a stream was opened; the hash is `vault.digest` of the token or cookie."""

    kind: Literal["token", "session"]
    hash: str


@dataclass(frozen=True, slots=True)
class Sight:
    """What the holder of a credential sees at this moment; `projects` None is everything (an admin)."""

    caller: Caller
    projects: frozenset[str] | None

    def sees(self, project_id: str | None) -> bool:
        """What is theirs: a stream into it goes on."""
        return project_id is None or self.projects is None or project_id in self.projects

    def shows(self, project_id: str | None) -> bool:
        """What they may be told of: all of it to an auditor, whom no stream lets in."""
        return self.caller.sees_all or self.sees(project_id)


@dataclass(frozen=True, slots=True)
class MachineNow:
    """What decides whether a stream to a machine goes on."""

    project_id: str
    state: str
    ipv4: str


@dataclass(frozen=True, slots=True)
class Look:
    """One consistent look. A credential that is missing from `sights` has ended, a machine missing from `machines` is gone."""

    latest: int
    events: list[EventView]
    sights: dict[Credential, Sight]
    machines: dict[str, MachineNow]
    versions: dict[str, int]
    """Spec version by node."""


def look(ctx: Context, last_id: int, credentials: Collection[Credential], machine_ids: Collection[str]) -> Look:
    """Everything that streams need, as of one moment. `last_id` is the newest event that they know."""
    with ctx.db.read() as session:
        query = select(EventRow).where(EventRow.id > last_id).order_by(EventRow.id).limit(MAX_EVENTS)
        return Look(
            latest=session.scalar(select(func.max(EventRow.id))) or 0,
            events=[event_view(row) for row in session.scalars(query)],
            sights=_sights(session, ctx, credentials),
            machines=_machines(session, machine_ids),
            versions={row.name: row.spec_version for row in session.execute(select(Node.name, Node.spec_version))},
        )


def _sights(session: OrmSession, ctx: Context, credentials: Collection[Credential]) -> dict[Credential, Sight]:
    """The same rule as `api_tokens.by_token` and `accounts.by_session`, for many at once."""
    tokens = _hashes(credentials, "token")
    sessions = _hashes(credentials, "session")
    token, cookie = ApiToken, Session
    by_token = select(token.hash, token.expires_at, token.scope, token.created_at, User)
    by_token = by_token.join(User, User.id == token.user_id)
    by_session = select(cookie.hash, cookie.expires_at, cookie.method, cookie.created_at, User)
    by_session = by_session.join(User, User.id == cookie.user_id)
    found: dict[Credential, tuple[User, str, float]] = {}
    """With a token's scope, or how a session was opened; and since when it is there."""
    for kind, query in (
        ("token", by_token.where(ApiToken.hash.in_(tokens))),
        ("session", by_session.where(Session.hash.in_(sessions))),
    ):
        for hashed, expires_at, said, made_at, user in session.execute(query):
            if not user.disabled and (expires_at is None or expires_at > ctx.clock()):
                found[Credential(kind, hashed)] = user, said, made_at  # type: ignore[arg-type]
    projects = _projects(session, {user.id for user, *_ in found.values()})
    granted = grants.of(session, {user.id: user for user, *_ in found.values()}.values())
    lack = second_factor.missing(session, ctx, granted)

    def caller(credential: Credential, user: User, said: str, made_at: float) -> Caller:
        has = granted[user.id]
        if credential.kind == "token":
            return caller_of(user, has.by(made_at), said)
        return by_password(user, has, user.id in lack and not second_factor.excused(ctx, has.trusted, said))

    return {credential: _sight(caller(credential, *held), projects) for credential, held in found.items()}


def _hashes(credentials: Collection[Credential], kind: str) -> list[str]:
    return [credential.hash for credential in credentials if credential.kind == kind]


def _projects(session: OrmSession, user_ids: Collection[str]) -> dict[str, set[str]]:
    projects: dict[str, set[str]] = {user_id: set() for user_id in user_ids}
    for row in session.execute(
        select(Membership.user_id, Membership.project_id).where(Membership.user_id.in_(user_ids))
    ):
        projects[row.user_id].add(row.project_id)
    return projects


def _sight(caller: Caller, projects: dict[str, set[str]]) -> Sight:
    return Sight(caller, None if caller.admin else frozenset(projects[caller.user_id]))


def _machines(session: OrmSession, ids: Collection[str]) -> dict[str, MachineNow]:
    if not ids:
        return {}
    query = select(Machine.id, Machine.project_id, Machine.state, Machine.ipv4).where(Machine.id.in_(ids))
    return {row.id: MachineNow(row.project_id, row.state, row.ipv4) for row in session.execute(query)}
