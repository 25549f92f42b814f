"""What all pages share: the blueprint, rendering, answers to htmx and to plain forms, a cursor's links."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for

from garage.errors import GarageError
from web.i18n import told

bp = Blueprint(
    "web", "web", template_folder="templates", static_folder="static", static_url_path="/assets", root_path=None
)


def live() -> bool:
    """Whether htmx asks: it wants a fragment instead of a page."""
    return request.headers.get("HX-Request") == "true"


def page(template: str, status: int = 200, **values: Any) -> Response:
    return make_response(render_template(template, **values), status)


def refused(template: str, error: GarageError, **values: Any) -> Response:
    """The page again, with what was typed and what was wrong with it."""
    return page(template, error.kind.status, error=told(error), typed=request.form, **values)


def to(endpoint: str, **values: Any) -> Response:
    """See other: the browser shows that page and a reload repeats nothing."""
    response = make_response(redirect(url_for(f"web.{endpoint}", **values), 303))
    if live():
        response = make_response("", 204)
        response.headers["HX-Redirect"] = url_for(f"web.{endpoint}", **values)
    return response
