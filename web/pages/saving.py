"""Save as image, from a machine's own page; how far it is, the page of images shows."""

from __future__ import annotations

from flask import Response

from garage.services import saving
from garage.services.saving import NewSave
from web import forms
from web.pages.base import bp, to
from web.session import caller, ctx


@bp.post("/machines/<ref>/image")
def machine_save(ref: str) -> Response:
    """Of its disk, or of a snapshot."""
    name, snapshot = forms.text("name"), forms.text("snapshot")
    saving.save(ctx(), caller(), forms.reference(ref), NewSave(name, snapshot, forms.text("people", default="own")))
    return to("images_list")
