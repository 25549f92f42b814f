"""Long lists of people's things, by name, a page at a time; a page begins behind the last name of the one before."""

from __future__ import annotations

from typing import Any, TypeVar

from sqlalchemy import Select, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from garage.db.models import Node, Project, User
from garage.services import accounts, nodes, projects
from garage.services.context import Caller, Context
from garage.services.rights import is_open, readable, require_reader
from garage.services.views import NodeView, Page, ProjectView, UserView

Row = TypeVar("Row", User, Project, Node)


def users(ctx: Context, caller: Caller, *, search: str = "", cursor: str | None = None, limit: int) -> Page[UserView]:
    """All users (admin or auditor)."""
    require_reader(caller)
    with ctx.db.read() as session:
        rows, more = _page(session, select(User).where(accounts.still_here()), User.name, search, cursor, limit)
        return Page(accounts.user_views(session, rows), more)


def open_projects(
    ctx: Context, caller: Caller, *, search: str = "", cursor: str | None = None, limit: int
) -> Page[ProjectView]:
    """The caller's projects, all for an admin and for an auditor."""
    with ctx.db.read() as session:
        query = select(Project).where(readable(caller, Project.id), is_open())
        rows, more = _page(session, query, Project.name, search, cursor, limit)
        return Page(projects.project_views(session, caller, rows), more)


def known_nodes(
    ctx: Context, _caller: Caller, *, search: str = "", cursor: str | None = None, limit: int
) -> Page[NodeView]:
    """All nodes; every member may see what is free on them, so that a refusal can be understood."""
    with ctx.db.read() as session:
        rows, more = _page(session, select(Node), Node.name, search, cursor, limit)
        return Page(nodes.views(session, ctx, rows), more)


def _page(
    session: Session,
    query: Select[Row],
    name: InstrumentedAttribute[str],
    search: str,
    cursor: str | None,
    limit: int,
) -> tuple[list[Row], str | None]:
    query = query.where(name > cursor) if cursor else query
    query = query.where(name.contains(search, autoescape=True)) if search else query
    rows: list[Any] = list(session.scalars(query.order_by(name).limit(limit + 1)))
    return rows[:limit], rows[limit - 1].name if len(rows) > limit else None
