"""Volumes: the caller's, one of them, and what can be done with it; a machine's page shows those that it has."""

from __future__ import annotations

from typing import Any

from flask import Response

from garage.errors import N_, GarageError
from garage.services import machines, volume_snapshots, volumes
from garage.services.context import Caller
from garage.services.filtering import Filter
from garage.services.history import project_names
from garage.services.views import MachineView
from garage.services.volume_views import RESTS, VolumeView
from garage.services.volumes import NewVolume
from web import forms
from web.i18n import told
from web.pages.base import bp, page, refused, to
from web.session import caller, ctx

BUSY = ("making", "attaching", "detaching", "reverting", "deleting")
CHOICES = 200
"""Machines that can be chosen from."""


def reasons(found: list[VolumeView]) -> dict[str, Any]:
    """By id, why something was not done."""
    return {each.id: told(GarageError.from_dict(each.error)) for each in found if each.error}


def going_on(found: list[VolumeView]) -> bool:
    return any(each.state in BUSY or (each.made_gib < each.size_gib and not each.error) for each in found)


@bp.get("/volumes")
def volumes_list() -> Response:
    return page("volumes/list.html", **_shown(caller()))


def _shown(who: Caller) -> dict[str, Any]:
    project = forms.query("project") or None
    found = volumes.listing(ctx(), who, project=project, cursor=forms.query("cursor") or None)
    projects = [name for name in project_names(ctx(), who) if name != who.name]
    return {
        "found": found.items,
        "cursor": found.cursor,
        "told_of": reasons(found.items),
        "busy": going_on(found.items),
        "projects": projects,
        "project": project,
    }


@bp.post("/volumes")
def volume_create() -> Response:
    who = caller()
    try:
        wanted = NewVolume(forms.text("name"), _gib(), forms.text("project") or None)
        volumes.create(ctx(), who, wanted)
    except GarageError as error:
        return refused("volumes/list.html", error, **_shown(who))
    return to("volumes_list")


def _gib() -> int:
    size = forms.number("size_gib")
    if size is None or size != int(size):
        raise GarageError("invalid_field", N_("{field} must be a whole number"), pointer="/size_gib", field="size_gib")
    return int(size)


@bp.get("/volumes/<ref>")
def volume_page(ref: str) -> Response:
    return one(ref)


def one(ref: str, error: GarageError | None = None) -> Response:
    """Its page, with what was refused."""
    who = caller()
    view = volumes.get(ctx(), who, forms.reference(ref))
    kept = volume_snapshots.listing(ctx(), who, view.id)
    there = machines.listing(ctx(), who, Filter(project=view.project, node=view.node), sort="name", limit=CHOICES)
    beside = [machine for machine in there.items if machine.state in RESTS]
    why = reasons([view]).get(view.id)
    shown = {
        "volume": view,
        "why": why,
        "busy": going_on([view]) or any(each.state in BUSY or each.reverting for each in kept),
        "machines": beside,
        "snapshots": kept,
        "snapshots_told": {each.id: told(GarageError.from_dict(each.error)) for each in kept if each.error},
    }
    return page("volumes/page.html", error.kind.status if error else 200, error=told(error) if error else None, **shown)


@bp.post("/volumes/<ref>/<action>")
def volume_act(ref: str, action: str) -> Response:
    """ "attach", "detach", "grow" or "delete"; where it comes from a machine's page it goes back there."""
    who, ref = caller(), forms.reference(ref)
    try:
        _act(who, ref, action)
    except GarageError as error:
        if error.code == "not_found":
            raise
        return one(ref, error)
    if machine := forms.text("from"):
        return to("machine_page", ref=forms.reference(machine))
    return to("volumes_list") if action == "delete" else to("volume_page", ref=ref)


@bp.post("/machines/<ref>/volumes")
def machine_volume(ref: str) -> Response:
    """The machine gets one that was chosen on its page."""
    ref = forms.reference(ref)
    volumes.attach(ctx(), caller(), forms.text("volume"), ref)
    return to("machine_page", ref=ref)


def of_machine(who: Caller, machine: MachineView) -> dict[str, Any]:
    """What a machine's page shows: those that it has, those that it may get."""
    held = volumes.listing(ctx(), who, machine=machine.id).items
    every = volumes.listing(ctx(), who, project=machine.project, limit=CHOICES).items
    free = [each for each in every if "attach" in each.actions and each.node == machine.node]
    return {"volumes": held, "volumes_told": reasons(held), "volumes_free": free}


def _act(who: Caller, ref: str, action: str) -> None:
    match action:
        case "attach":
            volumes.attach(ctx(), who, ref, forms.text("machine"))
        case "detach":
            volumes.detach(ctx(), who, ref)
        case "grow":
            volumes.grow(ctx(), who, ref, _gib())
        case "delete":
            _check_sure()
            volumes.delete(ctx(), who, ref)
        case _:
            raise GarageError("not_found", N_("there is nothing at this address"))


def _check_sure() -> None:
    if not forms.text("sure"):
        raise GarageError("invalid_field", N_("tick that what is on it may be lost"), pointer="/sure")
