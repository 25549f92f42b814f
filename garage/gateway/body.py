"""Request bodies, bounded in bytes and in time: read whole before a thread is spent on them, or piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.types import Message, Receive

from garage.errors import N_, GarageError

BODY_SECONDS = 30.0
QUIET_SECONDS = 30.0
"""How long a client may say nothing in the middle of what comes piece by piece."""


async def read_body(receive: Receive, limit: int) -> bytes:
    """The whole body; raises `too_large` beyond `limit` bytes, `timeout` after half a minute, `malformed_request` when cut off."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise GarageError("malformed_request", N_("the request was cut off"))
                body += message.get("body", b"")
                if len(body) > limit:
                    raise GarageError("too_large", N_("a request may have {limit} bytes"), limit=limit)
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        raise GarageError("timeout", N_("the request's body did not arrive in time")) from None


async def chunks(stream: AsyncIterator[bytes], limit: int) -> AsyncIterator[bytes]:
    """A body of any length up to `limit` bytes; raises `too_large` beyond, `timeout` when nothing comes for half a minute."""
    total = 0
    while True:
        try:
            async with asyncio.timeout(QUIET_SECONDS):
                chunk = await anext(stream, None)
        except TimeoutError:
            raise GarageError("timeout", N_("the request's body did not arrive in time")) from None
        if chunk is None:
            return
        total += len(chunk)
        if total > limit:
            raise GarageError("too_large", N_("a request may have {limit} bytes"), limit=limit)
        yield chunk


def replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives `body` at once and then whatever follows it (the disconnect)."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def given() -> Message:
        return messages.pop() if messages else await receive()

    return given
