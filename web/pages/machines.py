"""The machines: the sentence by which one asks for one, the list, what can be done with several at once."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

from flask import Response, make_response, render_template, request, url_for

from garage.core.states import State
from garage.errors import N_, GarageError
from garage.services import describing, images, keys, machines, outlook, projects, volumes
from garage.services.context import Caller, Context
from garage.services.filtering import Filter
from garage.services.history import project_names
from garage.services.idempotency import Answer, once
from garage.services.sorting import ORDERS
from garage.services.views import MachineView
from garage.services.volume_views import VolumeView
from web import forms
from web.i18n import told
from web.pages.base import bp, live, page, to
from web.session import caller, ctx

LEASES = (1, 3, 7, 14, 30)
"""Days offered; the garage's own default joins them."""
MANY = 50
SEARCH = 32
"""Characters of a search."""
VOLUMES = 100
"""The newest that are looked through for free ones."""


def choices(who: Caller) -> dict[str, Any]:
    """What the request form may choose from."""
    context = ctx()
    default = context.config.lease_days
    names = project_names(context, who)
    leases = sorted({float(days) for days in LEASES} | {default})
    return {
        "sizes": outlook.sizes(context),
        "images": images.usable(context, who),
        "leases": leases,
        "projects": names,
        "forecast": outlook.forecast(context),
        "defaults": {"size": machines.DEFAULT_SIZE, "image": machines.DEFAULT_IMAGE, "lease_days": default},
        "once": secrets.token_urlsafe(12),
        "has_key": bool(keys.listing(context, who)),
        "volumes_free": _free_volumes(who, names),
    }


def _free_volumes(who: Caller, projects: list[str]) -> list[VolumeView]:
    """Of the projects that the form offers, those that a new machine can have."""
    found = volumes.listing(ctx(), who, limit=VOLUMES).items
    return [each for each in found if "attach" in each.actions and each.project in projects]


def listed(who: Caller) -> dict[str, Any]:
    """The part of the list that the address bar asks for."""
    asked = {
        "search": forms.query("search", limit=SEARCH),
        "state": forms.query("state", pattern="|".join(State)),
        "project": forms.query("project"),
        "tag": forms.query("tag", limit=32, pattern=r"[a-z0-9._-]+"),
        "sort": forms.query("sort", pattern="|".join(ORDERS)),
        "cursor": forms.query("cursor", limit=80, pattern=r"[0-9a-zA-Z.~+-]+"),
    }
    found = machines.listing(
        ctx(),
        who,
        Filter(
            search=asked["search"],
            state=asked["state"] or None,
            project=asked["project"] or None,
            tag=asked["tag"] or None,
        ),
        sort=asked["sort"] or "newest",
        cursor=asked["cursor"] or None,
    )
    tags = [tag for tag, _ in describing.in_use(ctx(), who)]
    filtered = any(asked[key] for key in ("search", "state", "project", "tag"))
    return {
        "found": found,
        "asked": asked,
        "filtered": filtered,
        "tags": sorted({*tags, *filter(None, [asked["tag"]])}),
    }


@bp.get("/machines")
def machines_list() -> Response:
    who = caller()
    if live() and "list" in request.headers.get("HX-Target", ""):
        return page("machines/_list.html", **listed(who), projects=project_names(ctx(), who))
    usage = projects.get(ctx(), who, who.name).usage
    return page("machines/list.html", usage=usage, **choices(who), **listed(who))


@bp.post("/machines")
def machines_create() -> Response:
    who = caller()
    try:
        made = _create_once(who)
    except GarageError as error:
        return _not_made(who, error)
    if not live() and made["warnings"]:  # which the next page would not have
        usage = projects.get(ctx(), who, who.name).usage
        return page("machines/list.html", 201, usage=usage, warnings=_told(made), **choices(who), **listed(who))
    if made["several"]:  # one group of names, or the newest of all
        return to("machines_list", search=f"{made['group']}-"[:SEARCH] if made["group"] else None)
    if not live():
        return to("machine_page", ref=made["id"])
    view = machines.get(ctx(), who, made["id"])
    return page(
        "machines/_made.html",
        201,
        machine=view,
        usage=projects.get(ctx(), who, who.name).usage,
        warnings=_told(made),
        **choices(who),
    )


def _create_once(who: Caller) -> dict[str, Any]:
    """The id of the (first) machine; a form that is sent twice (a double click, a reload) makes one machine."""
    wanted = machines.NewMachine(
        name=forms.text("name"),
        project=forms.text("project") or None,
        image=forms.text("image") or machines.DEFAULT_IMAGE,
        size=forms.text("size") or machines.DEFAULT_SIZE,
        lease_days=forms.number("lease_days"),
        user_data=forms.lines("user_data") or None,
        apart=forms.text("apart"),
        tags=forms.text("tags", limit=600).replace(",", " ").split(),
        volumes=tuple(forms.reference(ref) for ref in request.form.getlist("volume")[:VOLUMES]),
    )
    count = forms.number("count")
    key = forms.text("once") or secrets.token_urlsafe(12)
    fingerprint = hashlib.sha256(repr((wanted, count)).encode()).hexdigest()

    def act(context: Context) -> Answer:
        made = (
            machines.create_many(context, who, wanted, int(count))
            if count is not None
            else [machines.create(context, who, wanted)]
        )
        warnings = [warning.as_dict() for warning in made[0].warnings]
        several = count is not None
        return Answer(201, {"id": made[0].id, "several": several, "group": wanted.name, "warnings": warnings})

    answer: dict[str, Any] = once(ctx(), who, f"page-{key}", fingerprint, act).body
    return answer


def _told(made: dict[str, Any]) -> list[str]:
    """What will not go well although it was taken."""
    return [told(GarageError.from_dict(warning)).message for warning in made["warnings"]]


def _not_made(who: Caller, error: GarageError) -> Response:
    values = {"error": told(error), "typed": request.form, **choices(who)}
    if live():
        return page("machines/_request.html", error.kind.status, **values)
    usage = projects.get(ctx(), who, who.name).usage
    return page("machines/list.html", error.kind.status, usage=usage, **values, **listed(who))


MANY_ACTIONS = {"start": machines.start, "stop": machines.stop, "renew": machines.renew, "delete": machines.delete}


@bp.post("/machines/many")
def machines_many() -> Response:
    """One action for the ticked rows; deletion asks first. What cannot be done is told, the rest is done."""
    who, action = caller(), forms.text("action")
    refs = [forms.reference(ref) for ref in request.form.getlist("machine")[:MANY]]
    if action not in MANY_ACTIONS or not refs:
        raise GarageError(
            "invalid_field",
            N_("nothing was chosen"),
            hint=N_("tick machines in the list, then choose what to do with them"),
            pointer="/machine",
        )
    if action == "delete" and not forms.text("sure"):
        return page("machines/delete.html", doomed=[machines.get(ctx(), who, ref) for ref in refs])
    problems = [problem for ref in refs if (problem := _one_of_many(who, action, ref))]
    if not problems:
        return to("machines_list")
    return page("machines/problems.html", 409, problems=problems, done=len(refs) - len(problems))


def _one_of_many(who: Caller, action: str, ref: str) -> Any:
    try:
        MANY_ACTIONS[action](ctx(), who, ref)
    except GarageError as error:
        return told(error)
    return None


def row(view: MachineView) -> Response:
    """The machine's row alone, for htmx."""
    return make_response(render_template("machines/_row.html", machine=view))


def address(view: MachineView) -> str:
    return url_for("web.machine_page", ref=view.id)
