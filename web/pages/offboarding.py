"""Somebody leaves: asked once, then what was done and how far it is."""

from __future__ import annotations

from typing import Any

from flask import Response

from garage.errors import GarageError
from garage.services import accounts, offboarding
from web import forms
from web.pages.base import bp, page, refused, to
from web.session import admin, ctx


@bp.get("/users/<name>/offboard")
def user_offboard(name: str) -> Response:
    """Asks first, or tells how far it is."""
    return _asked(forms.reference(name))


def _asked(name: str, error: GarageError | None = None) -> Response:
    who = admin()
    users = accounts.list_users(ctx(), who)
    accounts.find(ctx(), who, name)
    heirs = [user.name for user in users if user.name != name and not user.disabled and not user.service_of]
    values: dict[str, Any] = {"name": name, "heirs": heirs}
    return refused("offboard.html", error, **values) if error else page("offboard.html", **values)


@bp.post("/users/<name>/offboard")
def user_offboard_now(name: str) -> Response:
    name = forms.reference(name)
    try:
        offboarding.offboard(ctx(), admin(), name, to=forms.text("to"))
    except GarageError as error:
        return _asked(name, error)
    return to("user_offboarded", name=name)


@bp.get("/users/<name>/offboarded")
def user_offboarded(name: str) -> Response:
    return page("offboarded.html", done=offboarding.progress(ctx(), admin(), forms.reference(name)))
