"""The Flask app: `/api/v1` with its OpenAPI 3.1 document, `/metrics`, `/healthz`, `/readyz`. Pages are added by the composition root."""

from __future__ import annotations

from typing import Any

from flask import Response, current_app, jsonify, make_response, request
from flask.json.provider import DefaultJSONProvider
from flask_openapi3.models.info import Info
from flask_openapi3.openapi import OpenAPI
from pydantic_core import from_json
from werkzeug.exceptions import HTTPException

from garage import __version__, metrics
from garage.api import (
    access,
    adding,
    adoption,
    announcement,
    asyncdoc,
    audit,
    conditional,
    disk_copies,
    drains,
    going,
    images,
    info,
    limits,
    machines,
    measurements,
    news,
    offboarding,
    people,
    placement,
    renumbering,
    roles,
    saving,
    sites,
    snapshots,
    user_data,
    volume_snapshots,
    volumes,
)
from garage.api import schemas as s
from garage.api.base import MAX_BODY, check_query, context, invalid, locale
from garage.api.problem import NAMED, Translate, in_english, problem
from garage.errors import N_, GarageError
from garage.services import outlook
from garage.services.context import Context

PARTS = (
    adoption,
    machines,
    images,
    people,
    info,
    disk_copies,
    drains,
    sites,
    measurements,
    renumbering,
    placement,
    adding,
    audit,
    access,
    offboarding,
    announcement,
    saving,
    snapshots,
    news,
    user_data,
    roles,
    limits,
    volumes,
    volume_snapshots,
)
"""Modules with routes, in the order of the document."""
SECURITY: dict[str, Any] = {"bearer": {"type": "http", "scheme": "bearer"}}


class StrictJson(DefaultJSONProvider):
    """Bodies are read by pydantic's parser: bounded depth, no NaN; `json.loads` ends in a RecursionError on deep nesting. A body is an
    object: text with JSON in it would be read once more, and then less strictly."""

    def loads(self, s: str | bytes, **_kwargs: Any) -> Any:
        if isinstance(found := from_json(s, allow_inf_nan=False), dict):
            return found
        raise ValueError("not an object")


def make_flask(
    ctx: Context, *, translate: Translate = in_english, strangers: adding.Strangers | None = None
) -> OpenAPI:
    """The app without pages. `translate` gives error texts in the request's language; `strangers` reaches servers that are no nodes."""
    app = OpenAPI(
        "garage",
        info=Info(
            title="garage", version=__version__, description="Machines at once: the API of a garage research cloud."
        ),
        security_schemes=SECURITY,
        doc_ui=False,
        validation_error_callback=invalid,
        validation_error_model=s.Problem,
    )
    app.json = StrictJson(app)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.extensions["garage"], app.extensions["garage_translate"] = ctx, translate
    app.extensions["garage_strangers"] = strangers
    for part in PARTS:
        app.register_api(part.api)
    app.register_error_handler(GarageError, _refused)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _broken)
    app.before_request(check_query)
    app.after_request(conditional.stamp)
    app.after_request(going.stamp)
    _plain_routes(app)
    return app


def error_response(error: GarageError) -> Response:
    """problem+json in the request's language."""
    body, status, headers = problem(error, locale(), current_app.extensions["garage_translate"])
    return make_response(jsonify(body), status, headers)


def _refused(error: GarageError) -> Response:
    return error_response(error)


def _http(error: HTTPException) -> Response:
    """Werkzeug's own refusals in our words."""
    known = {
        404: GarageError("not_found", N_("there is nothing at this address"), hint=NAMED),
        405: GarageError("method_not_allowed", N_("{method} is not possible here"), hint=NAMED, method=request.method),
        413: GarageError(
            "too_large", N_("a request may have {limit} bytes"), hint=N_("send less at a time"), limit=MAX_BODY
        ),
    }
    fallback = GarageError("malformed_request", N_("the request cannot be read"), hint=NAMED)
    return error_response(known.get(error.code or 400, fallback))


def _broken(error: Exception) -> Response:
    """A defect: logged with its trace, told without it."""
    current_app.logger.error("unhandled error on %s %s", request.method, request.path, exc_info=error)
    return error_response(
        GarageError("internal", N_("an error of ours"), hint=N_("the log of the web process has the details"))
    )


def _plain_routes(app: OpenAPI) -> None:
    @app.get("/api/v1/openapi.json", doc_ui=False)
    def openapi() -> dict[str, Any]:
        return asyncdoc.complete(app.api_doc)

    @app.get("/healthz", doc_ui=False)
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", doc_ui=False)
    def readyz() -> tuple[dict[str, Any], int]:
        health = outlook.health(context())
        parts = {name: getattr(health, name) for name in ("database", "worker", "netd", "hypervisor", "image")}
        return {"ready": health.ready, "parts": parts}, 200 if health.ready else 503

    @app.get("/metrics", doc_ui=False)
    def metrics_() -> Response:
        body, content_type = metrics.render(context())
        return make_response(body, 200, {"Content-Type": content_type})
