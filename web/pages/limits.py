"""What one machine may take of what its node shares, set by an admin on the page on which a machine is changed."""

from __future__ import annotations

from flask import Response

from garage.core.machine_limits import NAMES
from garage.errors import GarageError
from garage.services import limiting
from web import forms
from web.pages.base import bp, to
from web.pages.machine_change import refused
from web.session import caller, ctx


@bp.post("/machines/<ref>/limits")
def machine_limits(ref: str) -> Response:
    """An empty field: as its size has it."""
    try:
        changes = {name: _figure(name) for name in NAMES}
        view = limiting.limit(ctx(), caller(), forms.reference(ref), changes)
    except GarageError as error:
        return refused(ref, error)
    return to("machine_page", ref=view.id)


def _figure(name: str) -> int | None:
    found = forms.number(name)
    return None if found is None else int(found)
