"""A machine that there is: what people call it and write on it, its rebuild, another size or project; and finding one among thousands."""

from __future__ import annotations

from flask import Response

from garage.core import machine_limits
from garage.errors import N_, GarageError
from garage.services import describing, images, machines, outlook, projects, remaking, transferring
from garage.services.filtering import Filter
from web import forms
from web.i18n import told
from web.pages.base import bp, page, to
from web.session import caller, ctx

FOUND = 12
"""Machines that a search shows at once."""


@bp.get("/find")
def machines_find() -> Response:
    """The first machines whose name or address has what is typed, as a fragment: for the search that every page has."""
    search = forms.query("search", limit=64)
    found = machines.listing(ctx(), caller(), Filter(search=search), sort="name", limit=FOUND) if search else None
    return page("machines/_found.html", found=found, search=search)


@bp.get("/machines/<ref>/change")
def machine_change(ref: str) -> Response:
    return _change(ref)


def _change(ref: str, error: GarageError | None = None) -> Response:
    view = machines.get(ctx(), caller(), forms.reference(ref))
    values = {
        "sizes": outlook.sizes(ctx()),
        "images": images.usable(ctx(), caller()),
        "projects": [name for name in projects.readable_names(ctx(), caller()) if name != view.project],
        "used": describing.in_use(ctx(), caller(), 12),
        "usual": machine_limits.of(ctx().config.limits, view.size, {}),
        "error": told(error) if error else None,
    }
    return page("machines/change.html", error.kind.status if error else 200, machine=view, **values)


@bp.post("/machines/<ref>/describe")
def machine_describe(ref: str) -> Response:
    tags = forms.text("tags", limit=600).replace(",", " ").split()
    name, notes = forms.text("name") or None, forms.lines("notes", limit=4000)
    try:
        describing.describe(ctx(), caller(), forms.reference(ref), name=name, tags_=tags, notes=notes)
    except GarageError as error:
        return refused(ref, error)
    return to("machine_page", ref=_id(ref, name))


@bp.post("/machines/<ref>/resize")
def machine_resize(ref: str) -> Response:
    try:
        view = remaking.resize(ctx(), caller(), forms.reference(ref), forms.text("size"))
    except GarageError as error:
        return refused(ref, error)
    return to("machine_page", ref=view.id)


@bp.post("/machines/<ref>/transfer")
def machine_transfer(ref: str) -> Response:
    try:
        view = transferring.transfer(ctx(), caller(), forms.reference(ref), forms.text("project"))
    except GarageError as error:
        return refused(ref, error)
    return to("machine_page", ref=view.id)


@bp.post("/machines/<ref>/rebuild")
def machine_rebuild(ref: str) -> Response:
    if not forms.text("sure"):
        return _change(ref, GarageError("invalid_field", N_("tick that its disk may be lost"), pointer="/sure"))
    try:
        view = remaking.rebuild(ctx(), caller(), forms.reference(ref), image=forms.text("image") or None)
    except GarageError as error:
        return refused(ref, error)
    return to("machine_page", ref=view.id)


def refused(ref: str, error: GarageError) -> Response:
    """The page again with what was wrong; what does not exist has no page."""
    if error.code == "not_found":
        raise error
    return _change(ref, error)


def _id(ref: str, name: str | None) -> str:
    """An address that still holds after it was renamed: pages are linked by id."""
    return ref if len(ref) == 20 or name is None else name
