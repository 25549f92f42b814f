"""Images: what machines boot, bringing one, who may use it, those on their way."""

from __future__ import annotations

from typing import Any

from flask import Response

from garage.errors import GarageError
from garage.services import image_tasks, image_views, images
from garage.services.context import Caller
from garage.services.history import project_names
from garage.services.image_tasks import NewImage
from web import forms, image_words
from web.pages import lists
from web.pages.base import bp, page, refused, to
from web.session import admin, caller, ctx

URL_LIMIT = 2000


def shown(who: Caller) -> dict[str, Any]:
    asked, tasks = lists.asked(image_views.CURSOR), image_tasks.listing(ctx(), who)
    found = image_views.page(ctx(), who, search=asked["search"], cursor=asked["cursor"] or None, limit=lists.PAGE)
    current, older = image_words.shelves(found.items)
    projects = [name for name in project_names(ctx(), who) if name != who.name]
    recipes = image_words.buildable(ctx().recipes.values(), image_views.standing(ctx()), tasks) if who.admin else []
    values = {"current": current, "older": older, "coming": image_words.coming(tasks), "recipes": recipes}
    return {**values, "found": found, "asked": asked, "projects": projects, "iw": image_words}


@bp.get("/images")
def images_list() -> Response:
    return page("images.html", **shown(caller()))


@bp.post("/images")
def image_bring() -> Response:
    """From an address; a file is uploaded by the command, which can go on where it broke off."""
    who = caller()
    visibility, project = _people(forms.text("people", default="own"))
    wanted = NewImage(
        name=forms.text("name"),
        sha256=forms.text("sha256", limit=80),
        url=forms.text("url", limit=URL_LIMIT),
        format=forms.text("format", default="qcow2"),
        boot=forms.text("boot", default="bios"),
        visibility=visibility,
        project=project,
    )
    try:
        image_tasks.bring(ctx(), who, wanted)
    except GarageError as error:
        return refused("images.html", error, **shown(who))
    return to("images_list")


@bp.post("/images/recipes/<name>/build")
def image_build(name: str) -> Response:
    """Of a recipe that ships; of another one by the command, which sends its text."""
    image_tasks.build_shipped(ctx(), admin(), forms.reference(name))
    return to("images_list", _anchor="coming")


@bp.post("/images/<ref>/people")
def image_share(ref: str) -> Response:
    visibility, project = _people(forms.text("people"))
    images.share(ctx(), caller(), forms.reference(ref), visibility, project)
    return to("images_list")


@bp.post("/images/<ref>/delete")
def image_delete(ref: str) -> Response:
    images.delete(ctx(), caller(), forms.reference(ref))
    return to("images_list")


@bp.post("/images/tasks/<ref>/cancel")
def image_cancel(ref: str) -> Response:
    image_tasks.cancel(ctx(), caller(), forms.reference(ref))
    return to("images_list")


def _people(chosen: str) -> tuple[str, str | None]:
    """ "own", "all", or "project NAME"."""
    visibility, _, project = chosen.partition(" ")
    return visibility, project or None
