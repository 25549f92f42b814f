"""Projects: who is in them, what they may use."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from garage.core import names
from garage.core.states import COUNTED
from garage.db.image_models import ImageTask
from garage.db.models import Image, Machine, Membership, Project, User
from garage.db.people_models import ServiceAccount
from garage.errors import N_, GarageError
from garage.services import capacity, channels, keys, news, service_accounts, volume_rules
from garage.services.context import Caller, Context, audit
from garage.services.rights import is_open, project_for, readable, require_admin, require_owner
from garage.services.views import ProjectView

QUOTA_LIMITS = {"machines": 10_000, "vcpus": 100_000, "memory_mib": 1 << 30, "disk_gib": 1 << 20, "image_gib": 1 << 20}


def listing(ctx: Context, caller: Caller) -> list[ProjectView]:
    """The caller's projects (all for an admin and for an auditor), the personal one first."""
    with ctx.db.read() as session:
        rows = session.scalars(select(Project).where(readable(caller, Project.id), is_open()).order_by(Project.name))
        return sorted(
            project_views(session, caller, rows.all()), key=lambda view: (view.name != caller.name, view.name)
        )


def readable_names(ctx: Context, caller: Caller) -> list[str]:
    """The names of those alone: what a list to choose from needs, at a small part of the cost."""
    with ctx.db.read() as session:
        names_ = session.scalars(select(Project.name).where(readable(caller, Project.id), is_open()))
        return sorted(names_, key=lambda name: (name != caller.name, name))


def get(ctx: Context, caller: Caller, ref: str) -> ProjectView:
    with ctx.db.read() as session:
        return project_view(session, caller, project_for(session, caller, ref, reading=True))


def own(ctx: Context, caller: Caller) -> str:
    """The name of the project that is meant where none is named."""
    with ctx.db.read() as session:
        return project_for(session, caller, None).name


def create(ctx: Context, caller: Caller, name: str) -> ProjectView:
    """Any member may open a project and owns it; it starts with the same quota as a personal one."""
    names.check_label(name, field="name")
    with ctx.db.write() as session:
        if session.scalar(select(Project.id).where(Project.name == name)):
            raise GarageError(
                "already_exists",
                N_("the name {name} is taken"),
                hint=N_("take another name"),
                pointer="/name",
                name=name,
            )
        opener = session.get_one(User, caller.user_id)
        _check_person(session, opener)
        _check_count(session, opener)
        quota = {f"quota_{key}": value for key, value in ctx.config.quota.items()}
        project = Project(id=ctx.new_id(), name=name, created_at=ctx.clock(), **quota)
        session.add(project)
        session.flush()
        session.add(Membership(project_id=project.id, user_id=caller.user_id, role="owner"))
        session.flush()
        audit(session, ctx, caller.name, "project.create", name, project_id=project.id)
        return project_view(session, caller, project)


MAX_OWNED = 5
"""Projects a member may own beside the personal one: each brings a quota of its own."""


def _check_count(session: Session, user: User, *, beside: str = "") -> None:
    """Before `user` owns one more; `beside` is that one, which may be theirs already. Those given to them count too."""
    owned = select(func.count()).select_from(Membership).join(Project, Project.id == Membership.project_id)
    owned = owned.where(Membership.user_id == user.id, Membership.role == "owner", Membership.project_id != beside)
    others = or_(Project.personal_of.is_(None), Project.personal_of != user.id)
    if (session.scalar(owned.where(others)) or 0) >= MAX_OWNED and user.role != "admin":
        raise GarageError(
            "quota_exceeded",
            N_("{user} owns {limit} projects already"),
            hint=N_("delete one, or ask an admin"),
            user=user.name,
            limit=MAX_OWNED,
        )


def _check_person(session: Session, user: User) -> None:
    if session.get(ServiceAccount, user.id):
        hint = N_("it stays in its project as long as it exists: garage project service remove")
        raise GarageError("in_use", N_("{user} is a service account"), hint=hint, user=user.name)


def _theirs(project: Project) -> GarageError:
    hint = N_("share a project of your own instead: garage project create NAME")
    return GarageError("in_use", N_("the personal project {project} stays its user's"), hint=hint, project=project.name)


def set_member(ctx: Context, caller: Caller, ref: str, user_name: str, role: str) -> ProjectView:
    """Add a member or change their role ("owner" or "member")."""
    if role not in ("owner", "member"):
        hint = N_("an owner manages members, a member uses machines")
        raise GarageError("invalid_field", N_("a role is owner or member"), hint=hint, pointer="/role")
    with ctx.db.write() as session:
        project = project_for(session, caller, ref)
        require_owner(session, caller, project)
        user = _user(session, user_name)
        _check_person(session, user)
        if role == "owner":
            _check_count(session, user, beside=project.id)
        elif project.personal_of == user.id:
            raise _theirs(project)
        membership = session.get(Membership, (project.id, user.id))
        if membership is None:
            session.add(Membership(project_id=project.id, user_id=user.id, role=role))
            _tell(session, ctx, caller, "project.added", project, user)
        else:
            membership.role = role
        _changed(session, ctx, caller, project, "project.member", user, role=role)
        return project_view(session, caller, project)


def remove_member(ctx: Context, caller: Caller, ref: str, user_name: str) -> ProjectView:
    """Their keys leave the project's running machines too."""
    with ctx.db.write() as session:
        project = project_for(session, caller, ref)
        user = _user(session, user_name, disabled_too=True)
        _check_person(session, user)
        if user.id != caller.user_id:
            require_owner(session, caller, project)
        if project.personal_of == user.id:
            raise _theirs(project)
        membership = session.get(Membership, (project.id, user.id))
        if membership is None:
            text, hint = N_("{user} is not in {project}"), N_("“garage project show {project}” names them")
            raise GarageError("not_found", text, hint=hint, user=user.name, project=project.name)
        session.delete(membership)
        _tell(session, ctx, caller, "project.removed", project, user)
        _changed(session, ctx, caller, project, "project.member_removed", user)
        return project_view(session, caller, project)


def _tell(session: Session, ctx: Context, caller: Caller, kind: str, project: Project, user: User) -> None:
    """What somebody does themselves is no news to them."""
    if user.id != caller.user_id:
        news.of_person(session, ctx, kind, user.id, project=project.name, by=caller.name)


def _changed(
    session: Session, ctx: Context, caller: Caller, project: Project, action: str, user: User, **detail: str
) -> None:
    session.flush()
    query = select(Membership).where(Membership.project_id == project.id, Membership.role == "owner")
    if session.scalars(query).first() is None:
        raise GarageError(
            "in_use",
            N_("{project} would have no owner"),
            hint=N_("make somebody else an owner first"),
            project=project.name,
        )
    keys.refresh_projects(session, [project.id])
    audit(session, ctx, caller.name, action, f"{user.name}@{project.name}", project_id=project.id, **detail)


def set_quota(ctx: Context, caller: Caller, ref: str, quota: dict[str, int]) -> ProjectView:
    """Admin only; keys machines, vcpus, memory_mib, disk_gib, image_gib. A quota below what is used only stops what is new."""
    require_admin(caller)
    with ctx.db.write() as session:
        project = project_for(session, caller, ref)
        for key, value in quota.items():
            if key not in QUOTA_LIMITS or not 0 <= value <= QUOTA_LIMITS[key]:
                raise GarageError(
                    "invalid_field",
                    N_("{key} cannot be {value}"),
                    hint=N_("write 0 or more; {limit} is the most"),
                    pointer=f"/{key[:32]}",
                    key=key[:32],
                    value=value,
                    limit=QUOTA_LIMITS.get(key, 0),
                )
            setattr(project, f"quota_{key}", value)
        audit(session, ctx, caller.name, "project.quota", project.name, project_id=project.id, **quota)
        return project_view(session, caller, project)


def delete(ctx: Context, caller: Caller, ref: str) -> None:
    """Only an empty project that is nobody's personal one."""
    with ctx.db.write() as session:
        project = project_for(session, caller, ref)
        require_owner(session, caller, project)
        if project.personal_of is not None:
            raise GarageError(
                "in_use",
                N_("{project} is a personal project"),
                hint=N_("it stays as long as its user"),
                project=project.name,
            )
        if session.scalar(
            select(Machine.id).where(Machine.project_id == project.id, Machine.state.in_([s.value for s in COUNTED]))
        ):
            raise GarageError(
                "in_use", N_("{project} still has machines"), hint=N_("delete them first"), project=project.name
            )
        if volume_rules.any_of(session, project):
            hint = N_("delete them first: garage volume delete")
            raise GarageError("in_use", N_("{project} still has volumes"), hint=hint, project=project.name)
        for name in service_accounts.names(session, project):
            service_accounts.end(session, name)
        _close(session, project)
        audit(session, ctx, caller.name, "project.delete", project.name)


def _close(session: Session, project: Project) -> None:
    """Rows of machines that are gone keep their project, so it is renamed out of the way instead of removed."""
    for membership in session.scalars(select(Membership).where(Membership.project_id == project.id)):
        session.delete(membership)
    for table in (Image, ImageTask):  # what was the project's is again theirs alone who brought it
        of_it = update(table).where(table.project_id == project.id)
        session.execute(of_it.values(project_id=None, visibility="own"))
    channels.forget_project(session, project.id)
    if session.scalar(select(Machine.id).where(Machine.project_id == project.id)):
        project.name = f"~{project.id}"
    else:
        session.delete(project)


def _user(session: Session, name: str, *, disabled_too: bool = False) -> User:
    user = session.scalars(select(User).where(User.name == name)).first()
    if user and (disabled_too or not user.disabled):
        return user
    raise GarageError(
        "not_found", N_("there is no user {name}"), hint=N_("an admin can invite them"), pointer="/user", name=name[:64]
    )


def project_view(session: Session, caller: Caller, project: Project) -> ProjectView:
    return project_views(session, caller, [project])[0]


def project_views(session: Session, caller: Caller, projects: Sequence[Project]) -> list[ProjectView]:
    """In their order, and in as many queries as one takes."""
    program = User.id.in_(select(ServiceAccount.user_id))
    query = select(Membership.project_id, User.name, Membership.role, User.id, program.label("program"))
    query = query.join(User, User.id == Membership.user_id)
    query = query.where(Membership.project_id.in_([project.id for project in projects])).order_by(User.name)
    members: dict[str, list[dict[str, str]]] = {project.id: [] for project in projects}
    roles = dict.fromkeys(members, "admin" if caller.admin else "auditor")
    for row in session.execute(query):
        if not row.program:
            members[row.project_id].append({"name": row.name, "role": row.role})
        if row.id == caller.user_id:
            roles[row.project_id] = row.role
    used = capacity.usages(session, projects)
    return [
        ProjectView(each.id, each.name, each.personal_of is not None, roles[each.id], used[each.id], members[each.id])
        for each in projects
    ]
