"""Which machines of a list are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, and_, or_, select
from sqlalchemy.orm import Session

from garage.core.states import State
from garage.db.machine_models import MachineTag
from garage.db.models import Image, Machine, Project, User
from garage.services.capacity import EXISTS
from garage.services.context import Caller
from garage.services.rights import project_for, readable


@dataclass(frozen=True, slots=True)
class Filter:
    """What is None is not asked for; without a state it is every machine that still exists."""

    project: str | None = None
    state: str | None = None
    node: str | None = None
    image: str | None = None
    size: str | None = None
    owner: str | None = None
    """The name of who made it."""
    tag: str | None = None
    search: str = ""
    """Part of a name or of NAME.PROJECT, a project's whole name, or the beginning of an address."""


ALL = Filter()


def chosen(session: Session, caller: Caller, wanted: Filter) -> Select[Machine]:
    """The caller's machines that `wanted` is true of, in no order. Raises `not_found` for a project that
    there is not."""
    query = select(Machine).where(Machine.project_id.is_not(None))
    if wanted.state != State.GONE.value:
        query = query.where(EXISTS)  # as text: an index of some rows serves no parameter
    if wanted.state:
        query = query.where(Machine.state == wanted.state)
    if wanted.project:
        query = query.where(Machine.project_id == project_for(session, caller, wanted.project, reading=True).id)
    else:
        query = query.where(readable(caller, Machine.project_id))
    if wanted.owner:
        query = query.where(Machine.created_by.in_(select(User.id).where(User.name == wanted.owner)))
    if wanted.tag:
        query = query.where(Machine.id.in_(select(MachineTag.machine_id).where(MachineTag.tag == wanted.tag)))
    if wanted.image:
        query = query.where(Machine.image_id.in_(select(Image.id).where(Image.name == wanted.image)))
    for column, value in ((Machine.node, wanted.node), (Machine.size, wanted.size)):
        query = query.where(column == value) if value else query
    return query.where(_like(session, wanted.search)) if wanted.search else query


def _like(session: Session, search: str) -> ColumnElement[bool]:
    named: ColumnElement[bool]
    name, _, project = search.partition(".")
    if project:
        there = Project.name.startswith(project.partition(".")[0], autoescape=True)
        named = and_(Machine.name.endswith(name, autoescape=True), Machine.project_id.in_(_ids(session, there)))
    elif whole := _ids(session, Project.name == search):
        named = or_(Machine.name.contains(search, autoescape=True), Machine.project_id.in_(whole))
    else:
        named = Machine.name.contains(search, autoescape=True)
    if not set(search) <= set("0123456789abcdef.:"):
        return named
    address = Machine.ipv6 if ":" in search else Machine.ipv4
    return or_(named, address.startswith(search, autoescape=True))


def _ids(session: Session, which: ColumnElement[bool]) -> Sequence[str]:
    """Of projects; asked for by themselves, since the database takes a poor way through machines where they are part of an "or"."""
    return session.scalars(select(Project.id).where(which)).all()
