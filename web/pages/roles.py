"""Roles of the organisation, given and taken on the page of users."""

from __future__ import annotations

from flask import Response

from garage.errors import GarageError
from garage.services import roles
from web import forms
from web.pages.base import bp, refused, to
from web.pages.organisation import everybody
from web.pages.proof import proof_first
from web.session import admin, ctx


@bp.post("/users/grants")
@proof_first("users_list")
def user_grant() -> Response:
    """The choice is "auditor", or "operator" and a site."""
    who = admin()
    role, _, site = forms.text("grant").partition("@")
    try:
        roles.grant(ctx(), who, forms.text("user"), role, site)
    except GarageError as error:
        return refused("users.html", error, refused_grant=True, **everybody(who))
    return to("users_list")


@bp.post("/users/<name>/revoke")
def user_revoke(name: str) -> Response:
    role, _, site = forms.text("grant").partition("@")
    roles.revoke(ctx(), admin(), forms.reference(name), role, site)
    return to("users_list")
