"""Who may see and change what. What one may not see does not exist: `not_found`, never `forbidden`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from sqlalchemy import ColumnElement, or_, select, true
from sqlalchemy.orm import InstrumentedAttribute, Session, joinedload

from garage.core import scopes
from garage.db.models import Machine, Membership, Project
from garage.db.people_models import ServiceAccount
from garage.db.volume_models import Volume
from garage.errors import N_, GarageError
from garage.services.context import Caller


def visible(
    caller: Caller, column: InstrumentedAttribute[str] | InstrumentedAttribute[str | None]
) -> ColumnElement[bool]:
    """A condition on a project-id column: the projects in which the caller acts: all of them for an admin, closed ones too."""
    if caller.admin:
        return true()
    return column.in_(select(Membership.project_id).where(Membership.user_id == caller.user_id))


def readable(
    caller: Caller, column: InstrumentedAttribute[str] | InstrumentedAttribute[str | None]
) -> ColumnElement[bool]:
    """The same for those of which the caller may be shown a list: an auditor's are all. What is inside machines is for `visible`."""
    return true() if caller.sees_all else visible(caller, column)


def acts_in(session: Session, caller: Caller, project_id: str | None) -> bool:
    """Whether the caller is in the project, rather than looking at it."""
    return caller.admin or session.get(Membership, (project_id or "", caller.user_id)) is not None


def is_open() -> ColumnElement[bool]:
    """A condition on projects: not deleted. A deleted one whose machines' rows remain is named "~" and its id."""
    return ~Project.name.startswith("~")


def project_for(session: Session, caller: Caller, ref: str | None, *, reading: bool = False) -> Project:
    """The project named or with the id `ref`; the caller's personal one when None, or that of a service account. Raises `not_found`, and
    `forbidden` for an auditor who would do more than look (`reading`)."""
    seen = readable if reading else visible
    query = select(Project).where(seen(caller, Project.id), is_open())
    service = select(ServiceAccount.project_id).where(ServiceAccount.user_id == caller.user_id)
    mine = or_(Project.personal_of == caller.user_id, Project.id.in_(service))
    query = query.where(mine if ref is None else or_(Project.id == ref, Project.name == ref))
    if project := session.scalars(query).first():
        return project
    if caller.auditor and not reading:
        raise _looks(project_for(session, caller, ref, reading=True).name)
    raise GarageError(
        "not_found", N_("there is no project {ref}"), hint=N_("“garage project list” shows yours"), ref=(ref or "")[:64]
    )


def _looks(name: str) -> GarageError:
    hint = N_("its project's members may")
    return GarageError("forbidden", N_("an auditor looks at {name}, and changes nothing of it"), hint=hint, name=name)


def require_owner(session: Session, caller: Caller, project: Project) -> None:
    """Only an owner of the project (or an admin) goes on."""
    membership = session.get(Membership, (project.id, caller.user_id))
    if not caller.admin and (membership is None or membership.role != "owner"):
        hint = N_("“garage project show {project}” names them")
        raise GarageError("forbidden", N_("only an owner of {project} may do that"), hint=hint, project=project.name)


def require_admin(caller: Caller) -> None:
    if not caller.admin:
        raise GarageError(
            "forbidden", N_("only an admin may do that"), hint=N_("ask one of your organisation's admins")
        )


def require_reader(caller: Caller) -> None:
    """An admin, or an auditor, who sees what admins see and changes nothing."""
    if not caller.sees_all:
        hint = N_("ask one of your organisation's admins")
        raise GarageError("forbidden", N_("only an admin or an auditor may see that"), hint=hint)


def require_sites(caller: Caller) -> None:
    """Who may see how sites and links are: any site's operator, too."""
    if not caller.sees_sites:
        hint = N_("ask one of your organisation's admins")
        raise GarageError("forbidden", N_("only an admin, an auditor or an operator may see that"), hint=hint)


def require_operator(caller: Caller, site: str) -> None:
    if not caller.operates(site):
        hint = N_("an admin gives that role: garage user grant NAME operator --site {site}")
        raise GarageError("forbidden", N_("only an operator of {site} may do that"), hint=hint, site=site[:64])


def check_scope(caller: Caller, method: str, path: str) -> None:
    """Raises `forbidden` where the caller's token is for less."""
    if not scopes.permits(caller.scope, method, path):
        hint = N_("use a token of a wider scope: garage token create NAME --scope …")
        raise GarageError(
            "forbidden", N_("this token may not do that; it is for: {scope}"), hint=hint, scope=caller.scope
        )


T = TypeVar("T", Machine, Volume)
"""What has a name of its own within a project."""


def the_one(caller: Caller, candidates: Sequence[T]) -> T | None:
    """Of those with one name the only one, or that in the caller's own project. Raises `not_found` where it could be several."""
    own = [found for found in candidates if found.project.personal_of == caller.user_id]
    if len(left := own or candidates) == 1:
        return left[0]
    if not candidates:
        return None
    name = candidates[0].name
    raise GarageError(
        "not_found",
        N_("{name} exists in several projects"),
        hint=N_("write NAME.PROJECT, e.g. {example}"),
        name=name,
        example=f"{name}.{candidates[0].project.name}",
    )


def machine_for(session: Session, caller: Caller, ref: str, *, reading: bool = False) -> Machine:
    """The machine with the id `ref`, or named NAME or NAME.PROJECT among those that the caller sees and that still exist. Raises
    `not_found`, and `forbidden` for an auditor who would do more than look (`reading`)."""
    seen = readable if reading else visible
    query = (
        select(Machine)
        .options(joinedload(Machine.project), joinedload(Machine.image))
        .where(seen(caller, Machine.project_id), Machine.project_id.is_not(None))
    )
    if found := session.scalars(query.where(Machine.id == ref)).first():
        return found
    name, _, project = ref.partition(".")
    query = query.join(Machine.project).where(Machine.name == name, Machine.state != "gone")
    candidates = list(session.scalars(query.where(Project.name == project) if project else query.limit(20)))
    if machine := the_one(caller, candidates):
        return machine
    if caller.auditor and not reading:
        raise _looks(machine_for(session, caller, ref, reading=True).name)
    raise GarageError(
        "not_found", N_("there is no machine {name}"), hint=N_("“garage machine list” shows yours"), name=ref[:64]
    )
