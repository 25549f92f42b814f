"""A copy of a machine's disk, from the machine's own page."""

from __future__ import annotations

from flask import Response

from garage.services import disk_copies
from web import forms
from web.pages.base import bp, to
from web.session import caller, ctx


@bp.post("/machines/<ref>/disk-copy")
def machine_disk_copy(ref: str) -> Response:
    view = disk_copies.ask(ctx(), caller(), forms.reference(ref))
    return to("machine_page", ref=view.machine)
