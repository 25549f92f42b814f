"""Flask beside the async routes: a bounded pool of threads that slow clients cannot hold."""

from __future__ import annotations

from typing import Any, cast

from a2wsgi import WSGIMiddleware
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from garage.api.base import MAX_BODY
from garage.errors import GarageError
from garage.gateway import problems
from garage.gateway.body import read_body, replay

THREADS = 8
"""Answers take milliseconds and SQLite has one writer, so few suffice; a password check holds 64 MiB (argon2id) in each, so
more would only raise the peak: 8 are 512 MiB. Threads are started when first needed."""
CHUNKS = 256
"""Chunks of an answer that wait for a slow reader (2 MiB of a static file) before they hold their thread."""


class Threaded:
    """An ASGI app that runs a WSGI app; a request gets a thread only when all of its body is here."""

    def __init__(self, wsgi_app: Any) -> None:
        self._app = cast(ASGIApp, WSGIMiddleware(wsgi_app, workers=THREADS, send_queue_size=CHUNKS))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            body = await read_body(receive, MAX_BODY)
        except GarageError as error:
            await problems.response(Request(scope), error)(scope, receive, send)
            return
        await self._app(scope, replay(body, receive), send)
