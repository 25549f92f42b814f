"""Somebody leaves: one action ends all that lets them in, and hands over or deletes what was theirs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session as OrmSession

from garage.core.states import COUNTED, Event, State
from garage.db.models import ApiToken, Audit, Invitation, Machine, Membership, Project, Session, SshKey, User
from garage.db.people_models import ServiceAccount
from garage.errors import N_, GarageError
from garage.services import channels, grants, keys, news, second_factor, volume_rules, volumes
from garage.services.context import Caller, Context, audit
from garage.services.rights import require_admin, require_reader
from garage.services.transitions import fire

ACTION = "user.offboard"


@dataclass(frozen=True, slots=True)
class KeyView:
    """A machine that knew keys of theirs. `state` is "gone" where they are removed, else why not yet: "waiting", "stopped" (they go when it
    starts), or "unreachable"."""

    machine: str
    project: str
    state: str


@dataclass(frozen=True, slots=True)
class OffboardView:
    """What was done, and how far the keys are."""

    name: str
    to: str
    projects: list[str]
    """Handed over."""
    deleted: int
    """Machines that are being deleted."""
    keys: list[KeyView]


def offboard(ctx: Context, caller: Caller, name: str, *, to: str = "") -> OffboardView:
    """Sessions, tokens, SSH keys, links and second factor of a user end, and they can sign in no more (admin). What they alone own goes to
    `to`, who becomes its owner; without one its machines and volumes are deleted.
    Raises `in_use` where others would be left without an owner."""
    require_admin(caller)
    with ctx.db.write() as session:
        user = _leaver(session, caller, name)
        heir = _heir(session, user, to) if to else None
        touched = _machines(session, user)
        handed, deleted = _hand_over(session, ctx, caller, user, heir)
        _shut_out(session, user)
        changed = [
            machine.id for machine in touched if not machine.keys_applied and machine.state != State.DELETING.value
        ]
        said: dict[str, Any] = {"to": to, "projects": handed, "deleted": deleted, "keys": changed}
        audit(session, ctx, caller.name, ACTION, name, **said)
        session.flush()
        return OffboardView(name, to, handed, deleted, _keys(session, changed))


def progress(ctx: Context, caller: Caller, name: str) -> OffboardView:
    """The last time that somebody was offboarded, with how far their keys are by now (admin or auditor)."""
    require_reader(caller)
    with ctx.db.read() as session:
        query = select(Audit.detail).where(Audit.action == ACTION, Audit.subject == name).order_by(Audit.id.desc())
        said = session.scalars(query.limit(1)).first()
        if said is None:
            hint = N_("garage user offboard NAME --to OTHER")
            raise GarageError("not_found", N_("{name} was not offboarded"), hint=hint, name=name[:64])
        return OffboardView(name, said["to"], said["projects"], said["deleted"], _keys(session, said["keys"]))


def _leaver(session: OrmSession, caller: Caller, name: str) -> User:
    user = _named(session, name, "/name")
    if user.id == caller.user_id:
        raise GarageError("in_use", N_("you cannot offboard yourself"), hint=N_("ask another admin"))
    if session.get(ServiceAccount, user.id):
        hint = N_("an owner removes it: garage project service remove")
        raise GarageError("wrong_state", N_("{name} is a service account"), hint=hint, name=name)
    return user


def _heir(session: OrmSession, user: User, to: str) -> User:
    heir = _named(session, to, "/to")
    if heir.id == user.id or heir.disabled or session.get(ServiceAccount, heir.id) is not None:
        hint = N_("name a member who can sign in")
        raise GarageError("invalid_field", N_("{to} can take nothing over"), hint=hint, pointer="/to", to=to)
    return heir


def _named(session: OrmSession, name: str, pointer: str) -> User:
    if user := session.scalars(select(User).where(User.name == name)).first():
        return user
    hint = N_("“garage user list” shows them")
    raise GarageError("not_found", N_("there is no user {name}"), hint=hint, pointer=pointer, name=name[:64])


def _machines(session: OrmSession, user: User) -> list[Machine]:
    """Those that may know their keys."""
    mine = select(Membership.project_id).where(Membership.user_id == user.id)
    there = Machine.project_id.in_(mine), Machine.state.in_([state.value for state in COUNTED])
    return list(session.scalars(select(Machine).where(*there).order_by(Machine.id)))


def _hand_over(
    session: OrmSession, ctx: Context, caller: Caller, user: User, heir: User | None
) -> tuple[list[str], int]:
    """(names of projects that have another owner now, machines that are being deleted)."""
    handed, deleted = [], 0
    for project in session.scalars(select(Project).join(Membership).where(Membership.user_id == user.id)).all():
        if _owned_by_another(session, project, user):
            continue
        if heir is not None and (project.personal_of is None or _has_any(session, project)):
            _give(session, project, heir)
            news.of_person(session, ctx, "project.added", heir.id, project=project.name, by=caller.name)
            handed.append(project.name)
        elif heir is None:
            _check_alone(session, project, user)
            deleted += _delete_machines(session, ctx, caller, project)
            volumes.end_all(session, ctx, caller, project)
    return handed, deleted


def _owned_by_another(session: OrmSession, project: Project, user: User) -> bool:
    others = Membership.project_id == project.id, Membership.role == "owner", Membership.user_id != user.id
    return session.scalar(select(func.count()).where(*others)) != 0


def _has_any(session: OrmSession, project: Project) -> bool:
    """Machines or volumes."""
    counted = Machine.state.in_([state.value for state in COUNTED])
    machine = session.scalar(select(Machine.id).where(Machine.project_id == project.id, counted).limit(1))
    return machine is not None or volume_rules.any_of(session, project)


def _give(session: OrmSession, project: Project, heir: User) -> None:
    """A personal project becomes one like others: machines keep project, names and addresses."""
    project.personal_of = None
    membership = session.get(Membership, (project.id, heir.id))
    if membership is None:
        session.add(Membership(project_id=project.id, user_id=heir.id, role="owner"))
    else:
        membership.role = "owner"


def _check_alone(session: OrmSession, project: Project, user: User) -> None:
    services = select(ServiceAccount.user_id)
    others = Membership.project_id == project.id, Membership.user_id != user.id, Membership.user_id.not_in(services)
    if project.personal_of is None and session.scalar(select(func.count()).where(*others)):
        hint = N_("make a member its owner first, or hand over: garage user offboard NAME --to OTHER")
        raise GarageError("in_use", N_("{project} would have no owner"), hint=hint, project=project.name)


def _delete_machines(session: OrmSession, ctx: Context, caller: Caller, project: Project) -> int:
    counted = Machine.state.in_([state.value for state in COUNTED])
    doomed = session.scalars(select(Machine).where(Machine.project_id == project.id, counted)).all()
    for machine in doomed:
        if machine.state != State.DELETING.value:
            machine.wants_running = False
            fire(session, ctx, machine, Event.DELETE)
            where = f"{machine.name}.{project.name}"
            audit(session, ctx, caller.name, "machine.delete", where, project_id=project.id, id=machine.id)
    return len(doomed)


def _shut_out(session: OrmSession, user: User) -> None:
    projects = list(session.scalars(select(Membership.project_id).where(Membership.user_id == user.id)))
    own = select(Project.id).where(Project.personal_of == user.id)
    for table in (ApiToken, Session, Invitation, SshKey):
        session.execute(delete(table).where(table.user_id == user.id))
    session.execute(delete(Membership).where(Membership.user_id == user.id, Membership.project_id.not_in(own)))
    second_factor.forget(session, user.id)
    grants.forget(session, user.id)
    channels.forget_person(session, user.id)
    user.disabled, user.password_hash, user.role = True, "", "member"
    session.flush()
    keys.refresh_projects(session, projects)


def _keys(session: OrmSession, ids: list[str]) -> list[KeyView]:
    query = select(Machine, Project.name).join(Project, Project.id == Machine.project_id)
    rows = session.execute(query.where(Machine.id.in_(ids)).order_by(Machine.id))
    return [KeyView(machine.name, project, _state(machine)) for machine, project in rows]


def _state(machine: Machine) -> str:
    if machine.keys_applied or machine.state not in {state.value for state in COUNTED}:
        return "gone"
    if machine.state == State.READY.value:
        return "waiting"
    return "unreachable" if machine.state == State.UNREACHABLE.value else "stopped"
