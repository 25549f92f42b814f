"""A volume's snapshots: made on the volume's own page, returned to or deleted after a question."""

from __future__ import annotations

from flask import Response

from garage.errors import N_, GarageError
from garage.services import volume_snapshots, volumes
from web import forms
from web.i18n import told
from web.pages.base import bp, page, to
from web.pages.volumes import one
from web.session import caller, ctx


@bp.post("/volumes/<ref>/snapshots")
def volume_snapshot_create(ref: str) -> Response:
    try:
        crash = bool(forms.text("crash"))
        view = volume_snapshots.create(
            ctx(), caller(), forms.reference(ref), forms.text("name"), crash_consistent=crash
        )
    except GarageError as error:
        if error.code == "not_found":
            raise
        return one(ref, error)
    return to("volume_page", ref=view.volume)


@bp.get("/volumes/<ref>/snapshots/<name>")
def volume_snapshot_page(ref: str, name: str) -> Response:
    return _ask(ref, name)


def _ask(ref: str, name: str, error: GarageError | None = None) -> Response:
    """What would be lost by returning to it, or by deleting it."""
    who, ref = caller(), forms.reference(ref)
    view = volume_snapshots.get(ctx(), who, ref, forms.reference(name))
    shown = {"volume": volumes.get(ctx(), who, ref), "snapshot": view, "error": told(error) if error else None}
    return page("volumes/snapshot.html", error.kind.status if error else 200, **shown)


@bp.post("/volumes/<ref>/snapshots/<name>/revert")
def volume_revert(ref: str, name: str) -> Response:
    if not forms.text("sure"):
        asked = N_("tick that what came on it since may be lost")
        return _ask(ref, name, GarageError("invalid_field", asked, pointer="/sure"))
    try:
        view = volume_snapshots.revert(ctx(), caller(), forms.reference(ref), forms.reference(name))
    except GarageError as error:
        if error.code == "not_found":
            raise
        return _ask(ref, name, error)
    return to("volume_page", ref=view.volume)


@bp.post("/volumes/<ref>/snapshots/<name>/delete")
def volume_snapshot_delete(ref: str, name: str) -> Response:
    try:
        view = volume_snapshots.delete(ctx(), caller(), forms.reference(ref), forms.reference(name))
    except GarageError as error:
        if error.code == "not_found":
            raise
        return _ask(ref, name, error)
    return to("volume_page", ref=view.volume)
