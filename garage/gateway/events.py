"""`GET /api/v1/events`: server-sent events of the caller's projects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from garage.errors import N_, GarageError
from garage.gateway import listener as sse
from garage.gateway.auth import authenticate
from garage.gateway.listener import RESET, Listener
from garage.gateway.parts import Parts, parts
from garage.gateway.query import check_query
from garage.services import events, live, machines

HEARTBEAT_SECONDS = 15.0
"""Below the minute after which usual proxies and address translators forget an idle connection."""
BACKLOG = 500
"""Events that a returning reader is told; after more it loads everything anew."""
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_RETRY = b"retry: 2000\n"
"""Milliseconds after which a browser comes again."""


async def stream(request: Request) -> Response:
    """`?machine=REF` narrows to one machine; `Last-Event-ID` goes on where an earlier connection ended."""
    check_query(request, "machine")
    held = parts(request)
    caller, credential = await authenticate(held.ctx, request)
    machine_id = None
    if ref := request.query_params.get("machine"):
        machine_id = (await run_in_threadpool(machines.seen, held.ctx, caller, ref)).id
    return _Held(held, Listener(credential, caller, machine_id), _last_event_id(request))


class _Held(StreamingResponse):
    """Known to the hub exactly as long as it is being sent, however it ends."""

    def __init__(self, held: Parts, reader: Listener, last_id: int | None) -> None:
        super().__init__(_chunks(held, reader, last_id), media_type="text/event-stream", headers=HEADERS)
        self._hub, self._reader = held.hub, reader

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._hub.listening(self._reader):
            await super().__call__(scope, receive, send)


def _last_event_id(request: Request) -> int | None:
    given = request.headers.get("last-event-id", "")
    if not given:
        return None
    if not given.isascii() or not given.isdigit() or len(given) > 18:
        raise GarageError(
            "malformed_request",
            N_("Last-Event-ID is a number that this stream has sent"),
            hint=N_("leave it out to begin with what is new"),
        )
    return int(given)


async def _backlog(held: Parts, reader: Listener, last_id: int | None) -> tuple[int, bytes]:
    """(the newest event known to the reader, what to send first). Read after the reader is registered, so nothing falls between."""
    if last_id is None:
        latest = await run_in_threadpool(events.latest, held.ctx)
        return latest, _RETRY + b"id: %d\n\n" % latest
    if not await run_in_threadpool(events.resumable, held.ctx, last_id):
        return await _start_over(held)
    missed = await run_in_threadpool(events.after, held.ctx, reader.caller, last_id, BACKLOG)
    if len(missed) == BACKLOG:
        return await _start_over(held)
    everything = live.Sight(reader.caller, None)  # `after` has already left out what the caller does not see
    wanted = [sse.encode(event) for event in missed if reader.wants(event, everything)]
    latest = missed[-1].id if missed else last_id
    return latest, _RETRY + b"id: %d\n\n" % latest + b"".join(wanted)


async def _start_over(held: Parts) -> tuple[int, bytes]:
    latest = await run_in_threadpool(events.latest, held.ctx)
    return latest, _RETRY + sse.reset(latest)


async def _chunks(held: Parts, reader: Listener, last_id: int | None) -> AsyncIterator[bytes]:
    known, first = await _backlog(held, reader, last_id)
    yield first
    while True:
        try:
            item = await asyncio.wait_for(reader.queue.get(), HEARTBEAT_SECONDS)
        except TimeoutError:
            yield b": still here\n\n"
            continue
        if item is None:
            return
        number, chunk = item
        if number > known or number == RESET:
            yield chunk
