"""News of what concerns people: written where it happens, in that transaction, into inboxes and onto ways out; and the inbox itself."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, delete, func, or_, select, update
from sqlalchemy.orm import Session

from garage.core.news import KINDS
from garage.db.models import Machine, Membership, Project, User
from garage.db.news_models import Channel, News, Outgoing
from garage.db.people_models import ServiceAccount
from garage.errors import N_, GarageError
from garage.services import grants
from garage.services.context import Caller, Context
from garage.services.views import Page

COUNTED = 100
"""Unread news are counted up to here."""
DAY = 86_400.0
GIVEN_UP_DAYS = 3.0
"""What could not be delivered for so long is no news any more."""


@dataclass(frozen=True, slots=True)
class NewsView:
    """A line of somebody's inbox. `core.news.tell` has its words."""

    id: str
    at: float
    kind: str
    detail: dict[str, Any]
    read_at: float | None


# --- what happened ----------------------------------------------------------------------------------------------------


def tell(
    session: Session,
    ctx: Context,
    kind: str,
    people: Collection[str],
    *,
    project_id: str | None = None,
    **detail: Any,
) -> None:
    """In the caller's transaction: `kind` happened, which concerns these users and this project. Never pass a secret."""
    if not people and project_id is None:
        return
    session.add_all(News(id=ctx.new_id(), user_id=who, at=ctx.clock(), kind=kind, detail=detail) for who in people)
    theirs: ColumnElement[bool] = Channel.user_id.in_(people)
    if project_id is not None:
        theirs = or_(theirs, Channel.project_id == project_id)
    for channel in session.scalars(select(Channel).where(theirs, Channel.confirmed)):
        if kind in channel.wanted:
            send(session, ctx, channel, kind, detail)


def send(session: Session, ctx: Context, channel: Channel, kind: str, detail: dict[str, Any]) -> None:
    """Onto one way out."""
    row = Outgoing(id=ctx.new_id(), channel_id=channel.id, at=ctx.clock(), kind=kind, detail=detail, tries=0)
    session.add(row)


def of_machine(session: Session, ctx: Context, kind: str, machine: Machine, **detail: Any) -> None:
    """News of a machine, for whoever asked for it (where they are gone: the project's owners) and for the project's webhooks."""
    if machine.project_id is None:
        return
    query = select(Membership.user_id, Membership.role).join(User, User.id == Membership.user_id)
    query = query.where(Membership.project_id == machine.project_id, _person())
    members = dict(session.execute(query).all())
    owners = [user for user, role in members.items() if role == "owner"]
    people = [machine.created_by] if machine.created_by in members else owners
    name = f"{machine.name}.{session.get_one(Project, machine.project_id).name}"
    tell(session, ctx, kind, people, project_id=machine.project_id, machine=name, **detail)


def of_person(session: Session, ctx: Context, kind: str, user_id: str | None, **detail: Any) -> None:
    """News for one person, unless they are one no more, or a program."""
    if session.scalar(select(User.id).where(User.id == user_id, _person())):
        tell(session, ctx, kind, [user_id] if user_id else [], **detail)


def of_site(session: Session, ctx: Context, kind: str, site: str, **detail: Any) -> None:
    """To the admins, and to the site's operators."""
    keeps = User.id.in_(grants.operators(site))
    keepers = select(User.id).where((User.role == grants.ADMIN) | keeps, _person())
    tell(session, ctx, kind, list(session.scalars(keepers)), **detail)


def _person() -> ColumnElement[bool]:
    """A condition on users: somebody who can read."""
    return User.disabled.is_(False) & User.id.not_in(select(ServiceAccount.user_id))


# --- the inbox --------------------------------------------------------------------------------------------------------


def listing(
    ctx: Context, caller: Caller, *, unread: bool = False, cursor: str | None = None, limit: int = 50
) -> Page[NewsView]:
    """The caller's own, newest first."""
    with ctx.db.read() as session:
        query = select(News).where(News.user_id == caller.user_id)
        query = query.where(News.read_at.is_(None)) if unread else query
        query = query.where(News.id < cursor) if cursor else query
        rows = list(session.scalars(query.order_by(News.id.desc()).limit(limit + 1)))
        return Page([_view(row) for row in rows[:limit]], rows[limit - 1].id if len(rows) > limit else None)


def unread(ctx: Context, caller: Caller) -> int:
    """How many the caller has not read, at most `COUNTED`."""
    with ctx.db.read() as session:
        some = select(News.id).where(News.user_id == caller.user_id, News.read_at.is_(None)).limit(COUNTED).subquery()
        return session.scalar(select(func.count()).select_from(some)) or 0


def read(ctx: Context, caller: Caller, ref: str) -> NewsView:
    """It is read; a second time the same."""
    with ctx.db.write() as session:
        row = session.get(News, ref)
        if row is None or row.user_id != caller.user_id:
            raise GarageError("not_found", N_("there is no such news"), hint=N_("“garage news list” shows yours"))
        row.read_at = row.read_at or ctx.clock()
        return _view(row)


def read_all(ctx: Context, caller: Caller) -> None:
    with ctx.db.write() as session:
        theirs = News.user_id == caller.user_id, News.read_at.is_(None)
        session.execute(update(News).where(*theirs).values(read_at=ctx.clock()))


def prune(ctx: Context) -> None:
    """Forget lines older than `keep_news_days`, and what could not be delivered in days."""
    with ctx.db.write() as session:
        session.execute(delete(News).where(News.at < ctx.clock() - ctx.config.keep_news_days * DAY))
        session.execute(delete(Outgoing).where(Outgoing.at < ctx.clock() - GIVEN_UP_DAYS * DAY))


def kinds_for(caller: Caller | None) -> list[str]:
    """What may be chosen: by a person, or (None) for a project."""
    if caller is None:
        return [name for name, kind in KINDS.items() if kind.of_project]
    return [name for name, kind in KINDS.items() if caller.admin or caller.sites or not kind.of_site]


def _view(row: News) -> NewsView:
    return NewsView(row.id, row.at, row.kind, row.detail, row.read_at)
