"""A request's id: the client's own where it is usable, else a drawn one; it is in the answer, in the log, and in what the request makes."""

from __future__ import annotations

import secrets

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from garage import tracing

_NAME = tracing.HEADER.lower().encode()


class RequestIds:
    """ASGI middleware, the outermost."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        given = next((value.decode("latin-1") for name, value in scope["headers"] if name == _NAME), "")
        request = given if tracing.usable(given) else secrets.token_hex(8)

        async def named(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start", "websocket.accept"):
                message = {**message, "headers": [*message.get("headers", ()), (_NAME, request.encode())]}
            await send(message)

        with tracing.of(request):
            await self._app(scope, receive, named)
