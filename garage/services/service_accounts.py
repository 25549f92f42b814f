"""Accounts of programs: users that have API tokens alone, members of one project, kept by its owners."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session as OrmSession

from garage.core import names as labels
from garage.core import scopes
from garage.db.models import (
    ApiToken,
    Idempotency,
    Invitation,
    Membership,
    Project,
    Session,
    SshKey,
    User,
)
from garage.db.people_models import RecoveryCode, SecondFactor, ServiceAccount
from garage.errors import N_, GarageError
from garage.services import accounts, api_tokens, keys
from garage.services.context import Caller, Context, audit
from garage.services.rights import project_for, require_owner
from garage.services.views import ServiceView, TokenView

MAX_PER_PROJECT = 20


def listing(ctx: Context, caller: Caller, ref: str) -> list[ServiceView]:
    """A project's, with their tokens, for its members."""
    with ctx.db.read() as session:
        project = project_for(session, caller, ref, reading=True)
        return [_view(session, user) for user in names(session, project)]


def names(session: OrmSession, project: Project) -> Sequence[User]:
    """The accounts of a project, by name."""
    query = select(User).join(ServiceAccount, ServiceAccount.user_id == User.id)
    return session.scalars(query.where(ServiceAccount.project_id == project.id).order_by(User.name)).all()


def create(ctx: Context, caller: Caller, ref: str, name: str) -> ServiceView:
    """By an owner. Its name is one of a user's: no two are the same."""
    labels.check_actor(name, field="name")
    with ctx.db.write() as session:
        project = _owned(session, caller, ref)
        if len(names(session, project)) >= MAX_PER_PROJECT:
            text, hint = N_("{project} has {limit} service accounts already"), N_("remove one that is no longer used")
            raise GarageError("quota_exceeded", text, hint=hint, project=project.name, limit=MAX_PER_PROJECT)
        accounts.check_free(session, name)
        user = User(id=ctx.new_id(), name=name, created_at=ctx.clock())
        session.add(user)
        session.flush()
        session.add(ServiceAccount(user_id=user.id, project_id=project.id))
        session.add(Membership(project_id=project.id, user_id=user.id, role="member"))
        audit(session, ctx, caller.name, "service.create", f"{name}@{project.name}", project_id=project.id)
        session.flush()
        return _view(session, user)


def remove(ctx: Context, caller: Caller, ref: str, name: str) -> None:
    """Its tokens end and its keys leave the project's machines; machines that it made stay the project's."""
    with ctx.db.write() as session:
        project = _owned(session, caller, ref)
        user = _account(session, project, name)
        end(session, user)
        audit(session, ctx, caller.name, "service.delete", f"{name}@{project.name}", project_id=project.id)


def create_token(
    ctx: Context, caller: Caller, ref: str, name: str, token: str, *, days: float | None, scope: str = scopes.MACHINES
) -> tuple[TokenView, str]:
    """(the token's row, its secret, shown this once), by an owner of the project."""
    api_tokens.check(token, days, scope)
    with ctx.db.write() as session:
        project = _owned(session, caller, ref)
        user = _account(session, project, name)
        row, secret = api_tokens.new(session, ctx, user.id, token, days, scope)
        said = {"id": row.id, "scope": scope, "service": name}
        audit(session, ctx, caller.name, "token.create", token, project_id=project.id, **said)
        return api_tokens.view(row), secret


def delete_token(ctx: Context, caller: Caller, ref: str, name: str, token_id: str) -> None:
    with ctx.db.write() as session:
        project = _owned(session, caller, ref)
        user = _account(session, project, name)
        row = session.get(ApiToken, token_id)
        if row is None or row.user_id != user.id:
            hint = N_("“garage project service list” shows them")
            raise GarageError("not_found", N_("there is no token {id}"), hint=hint, id=token_id[:64])
        session.delete(row)
        said = {"id": row.id, "service": name}
        audit(session, ctx, caller.name, "token.delete", row.name, project_id=project.id, **said)


def end(session: OrmSession, user: User) -> None:
    """Take a user away with all that lets them in. The row stays, for machines and images refer to it, under a name that nobody can use."""
    projects = list(session.scalars(select(Membership.project_id).where(Membership.user_id == user.id)))
    for table in (
        ApiToken,
        Session,
        Invitation,
        SshKey,
        Membership,
        Idempotency,
        ServiceAccount,
        SecondFactor,
        RecoveryCode,
    ):
        session.execute(delete(table).where(table.user_id == user.id))
    session.flush()
    keys.refresh_projects(session, projects)
    user.name, user.disabled, user.password_hash = f"~{user.id}", True, ""
    session.flush()


def _owned(session: OrmSession, caller: Caller, ref: str) -> Project:
    project = project_for(session, caller, ref)
    require_owner(session, caller, project)
    return project


def _account(session: OrmSession, project: Project, name: str) -> User:
    for user in names(session, project):
        if user.name == name:
            return user
    text, hint = N_("{project} has no service account {name}"), N_("“garage project service list” shows them")
    raise GarageError("not_found", text, hint=hint, project=project.name, name=name[:64])


def _view(session: OrmSession, user: User) -> ServiceView:
    query = select(ApiToken).where(ApiToken.user_id == user.id).order_by(ApiToken.id)
    return ServiceView(user.name, user.created_at, [api_tokens.view(row) for row in session.scalars(query)])
