"""Service accounts of a project: made, given tokens and ended by its owners."""

from __future__ import annotations

from flask import Response

from garage.errors import GarageError
from garage.services import service_accounts
from web import forms
from web.pages.base import bp, to
from web.pages.projects import shown
from web.pages.proof import proof_first
from web.session import caller, ctx


@bp.post("/projects/<ref>/services")
def service_create(ref: str) -> Response:
    ref = forms.reference(ref)
    try:
        service_accounts.create(ctx(), caller(), ref, forms.text("name"))
    except GarageError as error:
        return shown(ref, error=error)
    return to("project_page", ref=ref, _anchor="services")


@bp.post("/projects/<ref>/services/<name>/remove")
def service_remove(ref: str, name: str) -> Response:
    ref = forms.reference(ref)
    service_accounts.remove(ctx(), caller(), ref, forms.reference(name))
    return to("project_page", ref=ref, _anchor="services")


@bp.post("/projects/<ref>/services/<name>/tokens")
@proof_first("project_page", "services")
def service_token(ref: str, name: str) -> Response:
    """The new token is in this one answer and nowhere else."""
    ref, name = forms.reference(ref), forms.reference(name)
    try:
        days, scope = forms.number("days"), forms.text("scope", default="machines")
        given = {"days": int(days) if days is not None else None, "scope": scope}
        made, secret = service_accounts.create_token(ctx(), caller(), ref, name, forms.text("name"), **given)  # type: ignore[arg-type]
    except GarageError as error:
        return shown(ref, error=error)
    return shown(ref, 201, made=made, secret=secret, made_for=name)


@bp.post("/projects/<ref>/services/<name>/tokens/<token_id>/delete")
def service_token_delete(ref: str, name: str, token_id: str) -> Response:
    ref = forms.reference(ref)
    service_accounts.delete_token(ctx(), caller(), ref, forms.reference(name), forms.reference(token_id))
    return to("project_page", ref=ref, _anchor="services")
