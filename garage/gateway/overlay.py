"""What the overlay's nodes ask the registry: join, news, report, leave. Every request is a stranger's until its credential is known."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable
from typing import TypeVar

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from garage.errors import N_, GarageError
from garage.gateway.auth import bearer
from garage.gateway.body import read_body
from garage.gateway.overlay_news import OverlayNews
from garage.gateway.parts import parts
from garage.services import overlay_reports, registry
from garage.services.context import Context
from garage.services.overlay_reports import Recently
from garage.services.registry import Standing
from netd import wire

MAX_WAIT = 55.0
"""Seconds: below the minute after which usual proxies give a silent request up."""
MAX_JOIN = 16 * 1024
MAX_REPORT = 1024 * 1024
"""2,000 links in one report are about 500 KB."""
BURST, PER_SECOND = 20.0, 2.0
"""Reports of one node: netd sends one every 10 s, and one whenever a link comes or goes."""
JOINS_AT_A_TIME = 4
"""A join waits for the database's one writer; more would hold threads that other requests need."""
PIECE = 16 * 1024
REPORTS_AT_A_TIME = 2
"""As with joins: SQLite lets those who wait sleep for up to a tenth of a second, in no order, and polls need the threads."""
NO_STORE = {"Cache-Control": "no-store"}
Shape = TypeVar("Shape", bound=msgspec.Struct)


class Bucket:
    """A token bucket per node; on the event loop only."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, key: str) -> bool:
        now = self._clock()
        left, at = self._left.get(key, (BURST, now))
        left = min(BURST, left + (now - at) * PER_SECOND)
        if len(self._left) > 10_000:
            self._left.clear()
        self._left[key] = (left - 1, now) if left >= 1 else (left, now)
        return left >= 1


class InPieces(Response):
    """Sent a record of TLS at a time: OpenSSL keeps, for as long as the connection stands, a buffer as large as the most that was
    written at once. A Table of 1,000 sites in one piece would cost 1,000 waiting nodes a quarter of a gigabyte."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  (ASGI's)
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        body = memoryview(self.body)
        for start in range(0, len(body), PIECE):
            await send({"type": "http.response.body", "body": bytes(body[start : start + PIECE]), "more_body": True})
        await send({"type": "http.response.body", "body": b""})


class OverlayState:
    """What these routes keep beside the database; made by the composition, one per app."""

    def __init__(self, news: OverlayNews) -> None:
        self.news, self.bucket, self.recently = news, Bucket(), Recently()
        self.joins, self.reports = asyncio.Semaphore(JOINS_AT_A_TIME), asyncio.Semaphore(REPORTS_AT_A_TIME)


def state(request: Request) -> OverlayState:
    found: OverlayState = request.app.state.overlay
    return found


async def join(request: Request) -> Response:
    """201 with a JoinAnswer; the body holds the token, so there is no Authorization header."""
    wanted = _decoded(await read_body(request.receive, MAX_JOIN), wire.JoinRequest)
    async with state(request).joins:
        answer = await run_in_threadpool(registry.join, parts(request).ctx, wanted)
    return Response(msgspec.json.encode(answer), 201, NO_STORE, "application/json")


async def spec(request: Request) -> Response:
    """`?after=V&table=T&wait=SECONDS`: 200 with what is newer, or 204 when there was nothing for so long."""
    ctx, credential = parts(request).ctx, bearer(request) or ""
    after, table = _number(request, "after", 1 << 62), _number(request, "table", 1 << 62)
    wait = min(float(_number(request, "wait", 3600)), MAX_WAIT)
    found = await _standing(ctx, credential)
    if wait and not found.newer(after, table):
        found = await _wait(request, found, after, table, wait)
    if not found.newer(after, table):
        return Response(status_code=204, headers=NO_STORE)
    news = await run_in_threadpool(_news, ctx, found.node_id, after, table)
    if news is None:
        return Response(status_code=204, headers=NO_STORE)
    return InPieces(news, 200, NO_STORE, "application/json")


async def report(request: Request) -> Response:
    """204; 429 for a node that does nothing but report."""
    ctx = parts(request).ctx
    found = await _standing(ctx, bearer(request) or "")
    if not state(request).bucket.take(found.node_id):
        raise GarageError("too_many_attempts", N_("too many reports; one in ten seconds is enough"))
    said = _decoded(await read_body(request.receive, MAX_REPORT), wire.LinkReport)
    recently, now = state(request).recently, ctx.clock()
    if not recently.again(found, now, said):
        async with state(request).reports:
            await run_in_threadpool(overlay_reports.report, ctx, found.node_id, said)
        recently.remember(found, now, said)
    return Response(status_code=204)


async def outside(request: Request) -> Response:
    """200 with an Outside: for `netd doctor`, which can't know by itself what its peers see."""
    ctx = parts(request).ctx
    found = await _standing(ctx, bearer(request) or "")
    seen = await run_in_threadpool(registry.outside, ctx, found.node_id)
    return Response(msgspec.json.encode(seen), 200, NO_STORE, "application/json")


async def leave(request: Request) -> Response:
    """204; the credential is void from now on."""
    ctx = parts(request).ctx
    found = await _standing(ctx, bearer(request) or "")
    await run_in_threadpool(registry.leave, ctx, found.node_id)
    return Response(status_code=204)


async def _standing(ctx: Context, credential: str) -> Standing:
    if credential and (found := await run_in_threadpool(registry.standing, ctx, credential)):
        return found
    hint = N_("the site was removed, or it left: netd leave, then join with a new invitation")
    raise GarageError("not_signed_in", N_("this is not the credential of a member"), hint=hint)


async def _wait(request: Request, found: Standing, after: int, table: int, seconds: float) -> Standing:
    """Until there is news, time is over, or the process goes down. Being woken is a reason to look, and no more."""
    ctx, news, loop = parts(request).ctx, state(request).news, asyncio.get_running_loop()
    until = loop.time() + seconds
    with news.waiting(found.node_id) as waiter:
        while not (found := await _standing(ctx, bearer(request) or "")).newer(after, table):
            left = until - loop.time()
            if left <= 0 or news.closing:
                break
            try:
                async with asyncio.timeout(left):
                    await waiter.woken.wait()
            except TimeoutError:
                break
            waiter.woken.clear()
    return found


def _news(ctx: Context, node_id: str, after: int, table: int) -> bytes | None:
    found = registry.news(ctx, node_id, after, table)
    if found is None:
        return None
    return _table_alone(found.table) if found.table and not found.spec else msgspec.json.encode(found)


@functools.lru_cache(maxsize=1)
def _table_alone(sealed: bytes) -> bytes:
    """What almost all nodes are told after a join: one answer for them all."""
    return msgspec.json.encode(wire.News(table=sealed))


def _decoded(body: bytes, shape: type[Shape]) -> Shape:
    try:
        return wire.decode(body, shape)
    except wire.SpecError as error:
        raise GarageError("malformed_request", N_("this cannot be read: {reason}"), reason=error.text[:200]) from None


def _number(request: Request, name: str, high: int) -> int:
    given = request.query_params.get(name, "0")
    if given.isascii() and given.isdigit() and len(given) < 20 and int(given) <= high:
        return int(given)
    raise GarageError("invalid_field", N_("{field} must be a whole number"), pointer=f"/{name}", field=name)
