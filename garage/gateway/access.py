"""The access log: one line per finished request, without query strings and secrets."""

from __future__ import annotations

import logging
import re
import time
from urllib.parse import unquote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("garage.access")

_SECRET = re.compile(r"/+welcome/.+", re.DOTALL)
"""One-time links: whoever reads the log must not be able to use one."""
_QUIET = frozenset(
    {"/healthz", "/readyz", "/node/v1/spec", "/node/v1/report", "/overlay/v1/spec", "/overlay/v1/report"}
)
"""Asked all the time by machines; logged when refused."""


def shown(raw_path: bytes) -> str:
    """The path as logged: still percent-encoded, so that no control character gets into the log, and without secrets."""
    path = raw_path.partition(b"?")[0].decode("latin-1")[:200]
    return "/welcome/…" if _SECRET.match(unquote(path)) else path  # other ways to write it open the same page


class AccessLog:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                status = message["status"]
            elif message["type"] == "websocket.accept":
                status = 101
            elif message["type"] == "websocket.close":
                status = message.get("code", 1000)
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            if status >= 400 or scope["path"] not in _QUIET:
                _write(scope, status, time.monotonic() - began)


def _write(scope: Scope, status: int, seconds: float) -> None:
    client = (scope.get("client") or ("-", 0))[0]
    path = shown(scope.get("raw_path") or scope["path"].encode("ascii", "backslashreplace"))
    log.info("%s %s %s %s %.0f ms", client, scope.get("method", "WS"), path, status or "-", seconds * 1000)
