"""What the OpenAPI document says beside what Flask's routes say themselves: the gateway's async routes, refusals, headers."""

from __future__ import annotations

from typing import Any

from garage.api.going import GOING

_REF = {"name": "ref", "in": "path", "required": True, "schema": {"type": "string", "maxLength": 80}}
_PROBLEM = {
    "description": "Problem",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_AUTH: list[dict[str, list[str]]] = [{"bearer": []}]


def _query(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema}


def _operation(summary: str, tag: str, content: str, parameters: list[dict[str, Any]]) -> dict[str, Any]:
    ok = {"description": "OK", "content": {content: {"schema": {"type": "string"}}}}
    return {
        "summary": summary,
        "tags": [tag],
        "parameters": parameters,
        "security": _AUTH,
        "responses": {"200": ok},
    }


def _restore() -> dict[str, Any]:
    operation = _operation(
        "Replace all rows by those of a backup; nodes wait to be adopted then (admin).",
        "garage",
        "application/json",
        [],
    )
    body = {"required": True, "content": {BACKUP: {"schema": {"type": "string", "format": "binary"}}}}
    return operation | {"requestBody": body}


def _upload() -> dict[str, Any]:
    """Binary in, JSON out."""
    parameters = [_REF, _query("offset", {"type": "integer", "minimum": 0, "default": 0})]
    operation = _operation(
        "What follows byte `offset` of an image's file; an upload that was cut off is gone on with.",
        "images",
        "application/json",
        parameters,
    )
    body = {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
    return operation | {"requestBody": body}


BACKUP = "application/vnd.garage.backup+gzip"
PATHS: dict[str, Any] = {
    "/api/v1/backup": {
        "get": _operation(
            "All rows of one moment as one file; never the keys (admin, bearer token).", "garage", BACKUP, []
        )
    },
    "/api/v1/restore": {"post": _restore()},
    "/api/v1/events": {
        "get": _operation(
            "Server-sent events of your projects; Last-Event-ID resumes.",
            "garage",
            "text/event-stream",
            [_query("machine", {"type": "string", "maxLength": 80})],
        )
    },
    "/api/v1/image-tasks/{ref}/file": {"put": _upload()},
    "/api/v1/machines/{ref}/console": {
        "get": _operation(
            "The end of the serial console, without escape codes.",
            "machines",
            "text/plain",
            [_REF, _query("kib", {"type": "integer", "minimum": 1, "maximum": 64, "default": 64})],
        )
    },
    "/api/v1/machines/{ref}/disk": {
        "get": _operation(
            "The copy of a machine's disk, when it is ready (qcow2); Range goes on with a download.",
            "machines",
            "application/octet-stream",
            [_REF],
        )
    },
    "/api/v1/machines/{ref}/ssh": {
        "get": _operation(
            "WebSocket that carries an SSH stream in binary frames.", "machines", "application/octet-stream", [_REF]
        )
    },
}


READ = ("400", "401", "403", "404", "422", "429")
"""Refusals of any request: it cannot be read, nobody or not they, nothing there, a field, too often."""
CHANGE = (*READ, "409", "412", "413")
"""And of a change: not now, changed meanwhile, too large."""
HEADERS: dict[str, Any] = {
    name: {"description": description, "schema": {"type": "string"}}
    for name, description in {
        "X-Request-Id": "Stands in the logs of all that the request led to.",
        "RateLimit-Policy": "How many requests in how many seconds (draft-ietf-httpapi-ratelimit-headers).",
        "RateLimit": "How many are left, and for how many seconds.",
        "Retry-After": "Seconds.",
        "ETag": "For If-None-Match, and for If-Match of a change.",
        "Idempotency-Replayed": "true where a request with this Idempotency-Key was answered before, in these words.",
    }.items()
}
_ALWAYS = ("X-Request-Id", "RateLimit-Policy", "RateLimit")


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """The document with the gateway's paths, and with each operation's refusals one by one, as problems: Flask's part says 4XX, in
    plain JSON."""
    paths = {
        path: {method: _told(method, operation) | _going(method, path) for method, operation in operations.items()}
        for path, operations in (document["paths"] | PATHS).items()
    }
    refused = {status: _PROBLEM | {"headers": _headers(*_ALWAYS, *_also(status))} for status in (*CHANGE, "5XX")}
    parts = document["components"] | {"headers": HEADERS, "responses": refused}
    return document | {"paths": paths, "components": parts}


def _told(method: str, operation: dict[str, Any]) -> dict[str, Any]:
    done = {
        status: response | {"headers": _headers(*_ALWAYS, *_of_done(method, response))}
        for status, response in operation["responses"].items()
        if status.startswith("2")
    }
    refusals = (*(READ if method == "get" else CHANGE), "5XX")
    return operation | {
        "responses": done | {status: {"$ref": f"#/components/responses/{status}"} for status in refusals}
    }


def _going(method: str, path: str) -> dict[str, Any]:
    return {"deprecated": True} if (method.upper(), path) in GOING else {}


def _of_done(method: str, response: dict[str, Any]) -> tuple[str, ...]:
    if method == "get":
        return ("ETag",) if "application/json" in response.get("content", {}) else ()
    return ("Idempotency-Replayed",)


def _also(status: str) -> tuple[str, ...]:
    return ("Retry-After",) if status in ("429", "5XX") else ()


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
