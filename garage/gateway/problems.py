"""Errors of async routes, told exactly as Flask's routes tell them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response

from garage.api.problem import LOCALES, NAMED, Translate, in_english, problem
from garage.errors import N_, GarageError

log = logging.getLogger(__name__)


def locale(connection: HTTPConnection) -> str:
    """The first of our languages that Accept-Language names (RFC 9110, 12.5.4; weights are left to the order)."""
    for part in connection.headers.get("accept-language", "").split(",")[:20]:
        if (tag := part.strip()[:2].lower()) in LOCALES:
            return tag
    return "en"


def response(connection: HTTPConnection, error: GarageError) -> Response:
    """problem+json in the request's language."""
    translate: Translate = getattr(connection.app.state, "translate", in_english)
    body, status, headers = problem(error, locale(connection), translate)
    return JSONResponse(body, status, headers)


async def refused(request: Request, error: Exception) -> Response:
    """Handler of GarageError."""
    assert isinstance(error, GarageError)  # noqa: S101  (registered for nothing else)
    return response(request, error)


async def broken(request: Request, error: Exception) -> Response:
    """Handler of a defect: logged with its trace, told without it."""
    log.error("unhandled error on %s %s", request.method, request.url.path, exc_info=error)
    hint = N_("the log of the web process has the details")
    return response(request, GarageError("internal", N_("an error of ours"), hint=hint))


async def not_that_method(request: Request, _error: Exception) -> Response:
    """Handler of Starlette's own refusal, which here can only be 405: everything unknown goes on to Flask."""
    text = N_("{method} is not possible here")
    return response(request, GarageError("method_not_allowed", text, hint=NAMED, method=request.method))


HANDLERS: dict[Any, Callable[[Request, Exception], Any]] = {
    GarageError: refused,
    HTTPException: not_that_method,
    Exception: broken,
}
