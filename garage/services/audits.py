"""Reading the audit log: one's own projects' entries, all for an admin."""

from __future__ import annotations

from sqlalchemy import or_, select

from garage.db.models import Audit
from garage.services.context import Caller, Context
from garage.services.rights import visible
from garage.services.views import AuditView, Page


def listing(ctx: Context, caller: Caller, *, cursor: str | None = None, limit: int = 50) -> Page[AuditView]:
    """Newest first. Besides their projects', people see what they themselves did."""
    with ctx.db.read() as session:
        query = select(Audit).order_by(Audit.id.desc()).limit(limit + 1)
        if not caller.admin:
            query = query.where(or_(visible(caller, Audit.project_id), Audit.actor == caller.name))
        if cursor:
            query = query.where(Audit.id < int(cursor))
        rows = list(session.scalars(query))
        items = [AuditView(row.id, row.at, row.actor, row.action, row.subject, row.detail) for row in rows[:limit]]
        return Page(items, str(rows[limit - 1].id) if len(rows) > limit else None)
