"""Conditional requests (RFC 9110, section 13): every answer to a GET has an ETag; a mutation with If-Match is done only if what it changes
is still what the caller has read.

What a mutation changes is told by its path: the longest beginning of it that can be read. For `PUT /projects/arms/quota` that is
`/projects/arms`.

What is measured all the time is no change that anybody made: an ETag is "VERSION-ALL" where an answer holds some of it. All of it tells
whether there is news (If-None-Match), the version without what is measured whether somebody else changed it (If-Match).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

from flask import Response, current_app, g, request
from werkzeug.exceptions import HTTPException

from garage.errors import N_, GarageError
from garage.services.context import Context

ROOT = "/api/v1/"
OBSERVED = frozenset({
    "reported_at", "applied_version", "disk_free_gib", "free_vcpus", "free_memory_mib", "machines", "used", "rtt_ms", "jitter_ms",
    "loss", "links_up", "copies", "silence", "silent_since", "hypervisor_error", "netd_error", "outside", "alarms", "accusations",
    "problems",
})  # fmt: skip
"""Fields of nodes, sites, links and projects that change by themselves."""
WHOLE = frozenset({"quota", "labels", "node_labels", "manifest"})
"""Their keys are people's words, or what somebody sets."""
_ANY = re.compile(rb'"(?:%s)":' % "|".join(sorted(OBSERVED)).encode())


def tag(body: bytes) -> str:
    """Of an answer's bytes; the language of texts in it is part of it."""
    whole = hashlib.sha256(body).hexdigest()[:32]
    if not _ANY.search(body):
        return whole
    steady = json.dumps(_steady(json.loads(body)), sort_keys=True).encode()
    return f"{hashlib.sha256(steady).hexdigest()[:32]}-{whole}"


def _steady(found: Any) -> Any:
    """Without what is measured, at any depth."""
    if isinstance(found, dict):
        kept = {name: value for name, value in found.items() if name not in OBSERVED or _is_plan(name, value)}
        return {name: value if name in WHOLE else _steady(value) for name, value in kept.items()}
    return [_steady(each) for each in found] if isinstance(found, list) else found


def _is_plan(name: str, value: Any) -> bool:
    """A drain's machines, where others have their number."""
    return name == "machines" and isinstance(value, list)


def _version(tag: str) -> str:
    return tag.partition("-")[0]


def stamp(response: Response) -> Response:
    """After each request: an ETag on what was read, and 304 for whoever has that already."""
    if request.method in ("GET", "HEAD") and response.status_code == 200 and request.path.startswith(ROOT):
        response.set_etag(tag(response.get_data()))
        response.headers.setdefault("Cache-Control", "private, no-cache")
        response.vary.update(("Authorization", "Cookie", "Accept-Language"))
        response.make_conditional(request)
        del response.headers["Date"]  # the server adds it to every answer, with the time of sending
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
    if not request.if_match.star_tag and _version(now) not in map(_version, request.if_match.as_set()):
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
