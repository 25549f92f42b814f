"""Images as people see them: which ones, in which order, and what is told of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Literal

from sqlalchemy import ColumnElement, and_, case, func, or_, select, true
from sqlalchemy.orm import Session

from garage.core.states import COUNTED
from garage.db.models import Image, Machine, Membership, Project, User
from garage.db.snapshot_models import Snapshot
from garage.services.context import Caller, Context
from garage.services.views import ImageView, Page


def mine(caller: Caller) -> ColumnElement[bool]:
    """A condition on images: the caller may use them. An admin sees everybody's, but does not stumble over them by name (`find`)."""
    projects = select(Membership.project_id).where(Membership.user_id == caller.user_id)
    own = and_(Image.visibility == "own", Image.owner_id == caller.user_id)
    return or_(Image.visibility == "all", own, and_(Image.visibility == "project", Image.project_id.in_(projects)))


CURSOR = r"[01]~[a-z0-9.-]{1,64}~[0-9a-f]{1,20}"
"""Whether it is an older one, its name, its id."""


def page(
    ctx: Context,
    caller: Caller,
    *,
    search: str = "",
    only: Literal["all", "current", "older"] = "all",
    cursor: str | None = None,
    limit: int = 200,
) -> Page[ImageView]:
    """What the caller may use, all at all for an admin and an auditor, the current ones first; `search`: part of a name."""
    seen = true() if caller.sees_all else mine(caller)
    query = select(Image).where(seen, Image.deleted_at.is_(None))
    if search:
        query = query.where(Image.name.contains(search.lower(), autoescape=True))
    if only != "all":
        query = query.where(Image.current.is_(only == "current"))
    if cursor:
        query = query.where(_behind(cursor))
    with ctx.db.read() as session:
        query = query.order_by(_place(), Image.name, Image.id.desc()).limit(limit + 1)
        rows = list(session.scalars(query))
        more = rows[limit - 1] if len(rows) > limit else None
        rows, users = rows[:limit], users_of(session, rows)
        after = f"{int(not more.current)}~{more.name}~{more.id}" if more else None
        return Page([view_of(session, image, users, caller) for image in rows], after)


def standing(ctx: Context) -> dict[str, ImageView]:
    """The garage's own current images, by name."""
    with ctx.db.read() as session:
        rows = session.scalars(select(Image).where(Image.current, Image.deleted_at.is_(None), Image.owner_id.is_(None)))
        return {image.name: view_of(session, image) for image in rows}


def _place() -> ColumnElement[int]:
    return case((Image.current, 0), else_=1)


def _behind(cursor: str) -> ColumnElement[bool]:
    """In the order of `page`."""
    place, name, last_id = cursor.split("~")
    same_name = and_(Image.name == name, Image.id < last_id)
    return or_(_place() > int(place), and_(_place() == int(place), or_(Image.name > name, same_name)))


def users_of(session: Session, images: Collection[Image]) -> Counter[str]:
    """How many people's machines are made of each, or could return to a snapshot on it. What waits in a pool is nobody's: it ends by
    itself once its image is no longer asked for."""
    counted = and_(Machine.state.in_([state.value for state in COUNTED]), Machine.project_id.is_not(None))
    ids = [image.id for image in images]
    query = select(Machine.image_id, func.count()).where(Machine.image_id.in_(ids), counted)
    found = Counter[str](dict(session.execute(query.group_by(Machine.image_id)).all()))
    kept = select(Snapshot.image_id, func.count(Snapshot.machine_id.distinct()))
    kept = kept.join(Machine, Machine.id == Snapshot.machine_id).where(Snapshot.image_id.in_(ids), counted)
    kept = kept.where(Machine.image_id != Snapshot.image_id)
    return found + Counter[str](dict(session.execute(kept.group_by(Snapshot.image_id)).all()))


def view_of(
    session: Session, image: Image, users: Counter[str] | None = None, caller: Caller | None = None
) -> ImageView:
    owner = session.get_one(User, image.owner_id).name if image.owner_id else ""
    project = session.get_one(Project, image.project_id).name if image.project_id else ""
    return ImageView(
        image.id,
        image.name,
        image.sha256,
        image.current,
        image.created_at,
        image.manifest,
        visibility=image.visibility,
        owner=owner,
        project=project,
        machines=users[image.id] if users else 0,
        verified_at=image.verified_at,
        damaged=image.damaged,
        bytes=image.bytes,
        virtual_bytes=int(image.manifest.get("virtual_bytes", 0)),
        boot=str(image.manifest.get("boot", "kernel")),
        mine=caller is not None and (caller.admin or image.owner_id == caller.user_id),
    )
