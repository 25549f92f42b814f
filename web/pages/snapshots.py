"""A machine's snapshots: made and deleted on the machine's own page, returned to after a question."""

from __future__ import annotations

from flask import Response

from garage.errors import N_, GarageError
from garage.services import machines, snapshots
from web import forms
from web.i18n import told
from web.pages.base import bp, page, to
from web.session import caller, ctx


@bp.post("/machines/<ref>/snapshots")
def snapshot_create(ref: str) -> Response:
    crash = bool(forms.text("crash"))
    view = snapshots.create(ctx(), caller(), forms.reference(ref), forms.text("name"), crash_consistent=crash)
    return to("machine_page", ref=view.machine)


@bp.get("/machines/<ref>/snapshots/<name>")
def snapshot_page(ref: str, name: str) -> Response:
    return _ask(ref, name)


def _ask(ref: str, name: str, error: GarageError | None = None) -> Response:
    """What would be lost by returning to it, or by deleting it."""
    who, ref = caller(), forms.reference(ref)
    view = snapshots.get(ctx(), who, ref, forms.reference(name))
    shown = {"machine": machines.get(ctx(), who, ref), "snapshot": view, "error": told(error) if error else None}
    return page("machines/snapshot.html", error.kind.status if error else 200, **shown)


@bp.post("/machines/<ref>/snapshots/<name>/revert")
def snapshot_revert(ref: str, name: str) -> Response:
    if not forms.text("sure"):
        asked = N_("tick that what came on its disk since may be lost")
        return _ask(ref, name, GarageError("invalid_field", asked, pointer="/sure"))
    try:
        view = snapshots.revert(ctx(), caller(), forms.reference(ref), forms.reference(name))
    except GarageError as error:
        if error.code == "not_found":
            raise
        return _ask(ref, name, error)
    return to("machine_page", ref=view.machine)


@bp.post("/machines/<ref>/snapshots/<name>/delete")
def snapshot_delete(ref: str, name: str) -> Response:
    view = snapshots.delete(ctx(), caller(), forms.reference(ref), forms.reference(name))
    return to("machine_page", ref=view.machine)
