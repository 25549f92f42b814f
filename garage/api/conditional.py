"""Conditional requests (RFC 9110, section 13): every answer to a GET has an ETag; a mutation with If-Match is done only if what it changes
is still what the caller has read.

What a mutation changes is told by its path: the longest beginning of it that can be read. For `PUT /projects/arms/quota` that is
`/projects/arms`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from flask import Response, current_app, g, request
from werkzeug.exceptions import HTTPException

from garage.errors import N_, GarageError
from garage.services.context import Context

ROOT = "/api/v1/"


def tag(body: bytes) -> str:
    """Of an answer's bytes; the language of texts in it is part of it."""
    return hashlib.sha256(body).hexdigest()[:32]


def stamp(response: Response) -> Response:
    """After each request: an ETag on what was read, and 304 for whoever has that already."""
    if request.method in ("GET", "HEAD") and response.status_code == 200 and request.path.startswith(ROOT):
        response.set_etag(tag(response.get_data()))
        response.headers.setdefault("Cache-Control", "private, no-cache")
        response.vary.update(("Authorization", "Cookie", "Accept-Language"))
        response.make_conditional(request)
    return response


def check(ctx: Context) -> None:
    """Inside the mutation's transaction: raises `version_conflict` (412) where If-Match names another version than there is."""
    if not request.if_match:
        return
    g.joined = ctx
    try:
        now = _present()
    finally:
        g.pop("joined")
    if not request.if_match.contains(now):
        raise GarageError(
            "version_conflict",
            N_("it was changed since you read it"),
            hint=N_("read it again, look what is different, then repeat the request with the new ETag"),
        )


def _present() -> str:
    """The ETag that a GET would give now."""
    for path in _beginnings():
        try:
            endpoint, values = current_app.create_url_adapter(request).match(path, method="GET")  # type: ignore[union-attr]
        except HTTPException:
            continue
        made = current_app.make_response(current_app.ensure_sync(current_app.view_functions[endpoint])(**values))
        return tag(made.get_data())
    raise GarageError(
        "malformed_request", N_("If-Match is not possible here"), hint=N_("nothing at this address can be read first")
    )


def _beginnings() -> Iterator[str]:
    path = request.path
    while path.startswith(ROOT):
        yield path
        path = path.rpartition("/")[0]
