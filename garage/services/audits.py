"""Reading the audit log: one's own projects' entries, all for an admin and for an auditor."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Select, and_, or_, select
from sqlalchemy.orm import Session

from garage.core.names import SYSTEM
from garage.db.models import Audit, Project
from garage.db.people_models import AuditSeal
from garage.services.context import Caller, Context
from garage.services.rights import project_for, visible
from garage.services.views import AuditView, Page


@dataclass(frozen=True, slots=True)
class Search:
    """What to look for; an empty field stands for everything. Times are UTC seconds since 1970, `until` is not included."""

    actor: str = ""
    action: str = ""
    """All of it, or its kind: "machine" finds "machine.create"."""
    project: str = ""
    since: float | None = None
    until: float | None = None
    oldest_first: bool = False
    subject: str = ""
    """Part of what it was done to: "arm-test", "arm-test.alice"."""


def listing(
    ctx: Context, caller: Caller, search: Search | None = None, *, cursor: str | None = None, limit: int = 50
) -> Page[AuditView]:
    """Newest first. Besides their projects', people see what they themselves did. Raises `not_found` for a project."""
    search = search or Search()
    with ctx.db.read() as session:
        query = _found(session, caller, search)
        if cursor:
            query = query.where(Audit.id > int(cursor) if search.oldest_first else Audit.id < int(cursor))
        query = query.order_by(Audit.id if search.oldest_first else Audit.id.desc())
        rows = session.execute(query.limit(limit + 1)).all()
        items = [_view(*row) for row in rows[:limit]]
        return Page(items, str(items[-1].id) if len(rows) > limit else None)


def _found(session: Session, caller: Caller, search: Search) -> Select[Audit, str, int, str]:
    query = select(Audit, Project.name.label("project"), AuditSeal.number, AuditSeal.hash)
    query = query.outerjoin(AuditSeal, AuditSeal.entry == Audit.id).outerjoin(Project, Project.id == Audit.project_id)
    if not caller.sees_all:
        query = query.where(
            or_(visible(caller, Audit.project_id), and_(Audit.actor == caller.name, Audit.actor != SYSTEM))
        )
    if search.project:
        query = query.where(Audit.project_id == project_for(session, caller, search.project, reading=True).id)
    if search.actor:
        query = query.where(Audit.actor == search.actor)
    if search.action:
        whole, kind = Audit.action == search.action, Audit.action.startswith(f"{search.action}.", autoescape=True)
        query = query.where(whole if "." in search.action else kind)
    if search.subject:
        query = query.where(Audit.subject.contains(search.subject, autoescape=True))
    if search.since is not None:
        query = query.where(Audit.at >= search.since)
    return query if search.until is None else query.where(Audit.at < search.until)


def _view(row: Audit, project: str | None, number: int | None, hash_: str | None) -> AuditView:
    return AuditView(row.id, row.at, row.actor, row.action, row.subject, row.detail, project, number, hash_)
