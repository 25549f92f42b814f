"""The parts of the OpenAPI document that describe the gateway's async routes."""

from __future__ import annotations

from typing import Any

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
        "responses": {"200": ok, "4XX": _PROBLEM},
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


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """The document with the gateway's paths added, and problems under their own media type, which Flask's part calls plain JSON."""
    paths = {
        path: {method: _with_problems(operation) for method, operation in operations.items()}
        for path, operations in document["paths"].items()
    }
    return document | {"paths": paths | PATHS}


def _with_problems(operation: dict[str, Any]) -> dict[str, Any]:
    responses = {
        status: response | {"content": _PROBLEM["content"]} if _is_problem(response) else response
        for status, response in operation["responses"].items()
    }
    return operation | {"responses": responses}


def _is_problem(response: dict[str, Any]) -> bool:
    """One, or the list of them that Flask's part says a field error would be."""
    schema = response.get("content", {}).get("application/json", {}).get("schema", {})
    return str(schema.get("items", schema).get("$ref")).endswith("/Problem")
