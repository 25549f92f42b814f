"""What stored images hold of a project's quota: its own, those of the people whose personal project it is, and those on their way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from garage.db.image_models import ImageTask
from garage.db.models import Image, Project
from garage.db.people_models import ServiceAccount
from garage.errors import N_, GarageError

GIB = 1 << 30
UNKNOWN = GIB
"""Bytes that one on its way takes whose size nobody knows yet."""
OPEN = ("uploading", "waiting", "running")
"""States of a task that has not ended."""
COUNTED = ("import", "save")
"""Kinds of tasks: what the garage builds for all is nobody's."""


def gib(size: int) -> int:
    """Bytes as whole GiB, rounded up."""
    return -(-size // GIB)


def payer(session: Session, visibility: str, project_id: str | None, owner_id: str | None) -> Project | None:
    """The project in whose quota an image of these people counts: the one that shares it, or else its owner's own."""
    if visibility == "project":
        return session.get(Project, project_id) if project_id else None
    service = select(ServiceAccount.project_id).where(ServiceAccount.user_id == owner_id)
    own = or_(Project.personal_of == owner_id, Project.id.in_(service))
    return session.scalars(select(Project).where(own)).first() if owner_id else None


def payer_id(table: type[Image | ImageTask]) -> ColumnElement[str | None]:
    """The same of each row of `table`, by its id, within a query."""
    services = select(ServiceAccount.project_id).where(ServiceAccount.user_id == table.owner_id).correlate(table)
    personal = select(Project.id).where(Project.personal_of == table.owner_id).correlate(table)
    owners = func.coalesce(services.scalar_subquery(), personal.scalar_subquery())
    return case((table.visibility == "project", table.project_id), else_=owners)


def held(session: Session, project: Project, *, but: str = "") -> int:
    """Bytes of stored images and of what is reserved for those on their way; `but`: without that task."""
    return held_each(session, [project], but=but)[project.id]


def held_each(session: Session, projects: Sequence[Project], *, but: str = "") -> dict[str, int]:
    """The same of several by their ids, in as many queries as for one."""
    found = {project.id: 0 for project in projects}
    stored = _sums(Image, Image.bytes).where(Image.deleted_at.is_(None))
    coming = _sums(ImageTask, ImageTask.reserved).where(ImageTask.state.in_(OPEN), ImageTask.kind.in_(COUNTED))
    for query in (stored, coming.where(ImageTask.id != but)):
        for project_id, size in session.execute(query):
            if project_id in found:
                found[project_id] += int(size or 0)
    return found


def _sums(table: type[Image | ImageTask], size: InstrumentedAttribute[Any]) -> Select[str | None, Any]:
    return select(payer_id(table).label("payer"), func.sum(size)).group_by("payer")


def check(session: Session, project: Project | None, more: int, *, but: str = "") -> None:
    """Raises `quota_exceeded` where so many bytes more are too many."""
    if project is None or held(session, project, but=but) + more <= project.quota_image_gib * GIB:
        return
    names = ", ".join(_spare(session, project))
    ask = N_("ask an admin for more")
    raise GarageError(
        "quota_exceeded",
        N_("{project} would use {would} of {quota} {what}"),
        hint=N_("delete an image that you no longer need ({names}), or ask an admin for more") if names else ask,
        project=project.name, would=gib(held(session, project, but=but) + more), quota=project.quota_image_gib,
        what="image_gib", names=names,
    )  # fmt: skip


def reserve(session: Session, task: ImageTask, size: int = 0) -> None:
    """Before anything is brought. `size`: bytes; 0: nobody knows."""
    project = payer(session, task.visibility, task.project_id, task.owner_id)
    check(session, project, size or UNKNOWN, but=task.id)
    task.reserved = size or UNKNOWN


def grow(session: Session, task: ImageTask, size: int) -> None:
    """It is seen to take so many bytes at least: they are reserved from now on, or it ends here, before all of it has come."""
    if size > task.reserved:
        check(session, payer(session, task.visibility, task.project_id, task.owner_id), size, but=task.id)
        task.reserved = size


def settle(session: Session, task: ImageTask, size: int) -> None:
    """It has come, and has so many bytes."""
    check(session, payer(session, task.visibility, task.project_id, task.owner_id), size, but=task.id)


def _spare(session: Session, project: Project) -> list[str]:
    """Some names to choose from: older versions first, which no name means any more."""
    query = select(Image.name, Image.sha256, Image.current).where(
        Image.deleted_at.is_(None), payer_id(Image) == project.id
    )
    found = session.execute(query.order_by(Image.current, Image.id).limit(3))
    return [row.name if row.current else f"{row.name} {row.sha256[:16]}" for row in found]
