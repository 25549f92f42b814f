"""Rate limits of `/api/v1`: per token (or session), and per address; in this process's memory, so each web process counts for itself.

Answers say where one stands (draft-ietf-httpapi-ratelimit-headers: RateLimit-Policy, RateLimit); a refusal is 429 with Retry-After.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from garage.api.base import COOKIES
from garage.config import Config
from garage.core.rates import WINDOW, Left, Rates, network
from garage.errors import N_, GarageError
from garage.gateway import problems
from garage.services.vault import digest

ANONYMOUS = 300
"""Requests per minute and address that bring neither token nor session: signing in, and guessing."""


class RateLimits:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, config: Config, clock: Callable[[], float] = time.monotonic) -> None:
        self._app, self._clock = app, clock
        self._caller = Rates("caller", config.rate_caller)
        self._address = Rates("address", config.rate_address)
        self._anonymous = Rates("anonymous", min(ANONYMOUS, config.rate_address))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or not scope["path"].startswith("/api/v1/"):
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        told = [rates.take(key, self._clock()) for rates, key in self._buckets(connection) if rates.limit]
        if refused := next((left for left in told if left.wait), None):
            await _refuse(connection, refused, scope, receive, send)
            return

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start" and told:
                message = {**message, "headers": [*message["headers"], *_headers(min(told, key=_share))]}
            await send(message)

        await self._app(scope, receive, counted)

    def _buckets(self, connection: HTTPConnection) -> list[tuple[Rates, str]]:
        """Who is counted as what. The server itself has no address of its own: it may be a proxy that speaks for everybody."""
        host = connection.client.host if connection.client else ""
        who = connection.headers.get("authorization") or next(
            (cookie for name in COOKIES if (cookie := connection.cookies.get(name))), ""
        )
        found = [(self._caller, digest(who)) if who else (self._anonymous, network(host))]
        return found if _is_here(host) else [*found, (self._address, network(host))]


def _share(left: Left) -> float:
    return left.remaining / left.limit


def _headers(left: Left) -> list[tuple[bytes, bytes]]:
    policy = f'"{left.policy}";q={left.limit};w={WINDOW}'
    now = f'"{left.policy}";r={left.remaining};t={left.reset}'
    return [(b"ratelimit-policy", policy.encode()), (b"ratelimit", now.encode())]


async def _refuse(connection: HTTPConnection, left: Left, scope: Scope, receive: Receive, send: Send) -> None:
    error = GarageError(
        "too_many_requests",
        N_("more than {limit} requests in a minute"),
        hint=N_("wait {seconds} s; the answer's Retry-After says so too"),
        limit=left.limit,
        seconds=left.wait,
    )
    response = problems.response(connection, error)
    response.raw_headers.extend(_headers(left))
    await response(scope, receive, send)


def _is_here(host: str) -> bool:
    return host in ("", "::1") or network(host).startswith("127.")
