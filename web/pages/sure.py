"""Questions before what cannot be taken back by one click: each says what would end, and its button does it."""

from __future__ import annotations

from flask import Response, url_for

from garage.errors import N_, GarageError
from garage.services import accounts, projects, service_accounts
from web import forms
from web.pages.base import bp, page
from web.session import admin, caller, ctx


@bp.get("/projects/<ref>/delete")
def project_delete_ask(ref: str) -> Response:
    project = projects.get(ctx(), caller(), forms.reference(ref))
    left = project.usage.used["machines"]
    return _ask("project_delete", "project_page", project=project, left=left, at={"ref": project.name})


@bp.get("/projects/<ref>/members/<user>/remove")
def project_member_remove_ask(ref: str, user: str) -> Response:
    """Oneself, too."""
    project, user = projects.get(ctx(), caller(), forms.reference(ref)), forms.reference(user)
    if user not in (member["name"] for member in project.members):
        text, hint = N_("{user} is not in {project}"), N_("“garage project show {project}” names them")
        raise GarageError("not_found", text, hint=hint, user=user, project=project.name)
    at = {"ref": project.name, "user": user}
    return _ask("project_member_remove", "project_page", project=project, name=user, at=at)


@bp.get("/projects/<ref>/services/<name>/remove")
def service_remove_ask(ref: str, name: str) -> Response:
    who, ref, name = caller(), forms.reference(ref), forms.reference(name)
    project = projects.get(ctx(), who, ref)
    service = next((one for one in service_accounts.listing(ctx(), who, ref) if one.name == name), None)
    if service is None:
        raise GarageError("not_found", N_("there is nothing at this address"))
    at = {"ref": project.name, "name": name}
    return _ask("service_remove", "project_page", project=project, service=service, name=name, at=at)


@bp.get("/users/<name>/disable")
def user_disable_ask(name: str) -> Response:
    user = accounts.find(ctx(), admin(), forms.reference(name))
    return _ask("user_disable", "users_list", name=user.name, at={"name": user.name, "action": "disable"})


@bp.get("/users/<name>/reset-factor")
def user_reset_factor_ask(name: str) -> Response:
    user = accounts.find(ctx(), admin(), forms.reference(name))
    return _ask("user_reset_factor", "users_list", name=user.name, at={"name": user.name})


def _ask(what: str, keep: str, *, at: dict[str, str], **values: object) -> Response:
    """`what` is the endpoint that does it, `keep` that of the page from which one comes."""
    back = url_for(f"web.{keep}", ref=at["ref"]) if "ref" in at else url_for(f"web.{keep}")
    return page("sure.html", what=what, action=url_for(f"web.{what}", **at), keep=back, **values)  # type: ignore[arg-type]
