"""Projects: what they may use, who and which programs are in them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flask import Response

from garage.errors import GarageError
from garage.services import audits, directory, projects, service_accounts
from garage.services.audits import Search
from garage.services.context import Caller
from web import forms
from web.pages import lists
from web.pages.account import TOKEN_DAYS
from web.pages.base import bp, page, refused, to
from web.session import caller, ctx

GIB = 1024
RECENT = 8
"""Entries of the audit log on a project's page."""


@bp.get("/projects")
def projects_list() -> Response:
    return page("projects/list.html", **listed(caller()))


def listed(who: Caller) -> dict[str, Any]:
    """The part of the list that the address bar asks for; one's own project comes before all others."""
    asked = lists.asked()
    search, cursor = asked["search"], asked["cursor"] or None
    found = directory.open_projects(ctx(), who, search=search, cursor=cursor, limit=lists.PAGE)
    items = [view for view in found.items if view.name != who.name]
    if cursor is None and search in who.name:
        items.insert(0, projects.get(ctx(), who, who.name))
    return {"asked": asked, "found": replace(found, items=items)}


@bp.post("/projects")
def project_create() -> Response:
    who = caller()
    try:
        made = projects.create(ctx(), who, forms.text("name"))
    except GarageError as error:
        return refused("projects/list.html", error, **listed(who))
    return to("project_page", ref=made.name)


def shown(ref: str, status: int = 200, error: GarageError | None = None, **more: Any) -> Response:
    """A project's page, or after a refusal the page with what was typed."""
    who = caller()
    values = {
        "project": projects.get(ctx(), who, ref),
        "services": service_accounts.listing(ctx(), who, ref),
        "token_days": TOKEN_DAYS,
        "activity": audits.listing(ctx(), who, Search(project=ref), limit=RECENT).items,
        **more,
    }
    name = "projects/page.html"
    return refused(name, error, **values) if error else page(name, status, **values)


@bp.get("/projects/<ref>")
def project_page(ref: str) -> Response:
    return shown(forms.reference(ref))


@bp.post("/projects/<ref>/members")
def project_member(ref: str) -> Response:
    """Add somebody, or change a role."""
    who, ref = caller(), forms.reference(ref)
    try:
        projects.set_member(ctx(), who, ref, forms.text("user"), forms.text("role", default="member"))
    except GarageError as error:
        return shown(ref, error=error)
    return to("project_page", ref=ref)


@bp.post("/projects/<ref>/members/<user>/remove")
def project_member_remove(ref: str, user: str) -> Response:
    """Oneself, or as an owner anybody."""
    who, ref, user = caller(), forms.reference(ref), forms.reference(user)
    projects.remove_member(ctx(), who, ref, user)
    return to("projects_list") if user == who.name and not who.admin else to("project_page", ref=ref)


@bp.post("/projects/<ref>/quota")
def project_quota(ref: str) -> Response:
    """Admins only. Memory is typed in GiB and kept in MiB."""
    who, ref = caller(), forms.reference(ref)
    try:
        typed = {key: forms.number(key) for key in ("machines", "vcpus", "memory_gib", "disk_gib", "image_gib")}
        wanted = {key: int(value) for key, value in typed.items() if value is not None}
        if "memory_gib" in wanted:
            wanted["memory_mib"] = wanted.pop("memory_gib") * GIB
        projects.set_quota(ctx(), who, ref, wanted)
    except GarageError as error:
        return shown(ref, error=error)
    return to("project_page", ref=ref)


@bp.post("/projects/<ref>/delete")
def project_delete(ref: str) -> Response:
    projects.delete(ctx(), caller(), forms.reference(ref))
    return to("projects_list")
