"""`WS /api/v1/machines/{ref}/ssh`: a machine's SSH port as a WebSocket.

Binary frames carry the bytes, a text frame "eof" says that its sender will send no more (TCP's half-close, which
WebSocket lacks). Each direction waits for the other end: nothing is buffered beyond one read and one write.
"""

from __future__ import annotations

import asyncio
import contextlib

from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocket

from garage.errors import N_, GarageError
from garage.gateway import problems
from garage.gateway.auth import authenticate, check_origin
from garage.gateway.hub import Carried
from garage.gateway.parts import Parts, parts
from garage.gateway.query import check_query
from garage.services import live, machines
from garage.services.views import MachineView

CHUNK = 256 * 1024
"""Bytes of one frame at most; clients take frames of 1 MiB."""
EOF = "eof"
HOST_KEY = b"garage-host-key"
"""Header of the upgrade's answer: the machine's SSH host key, so that a ProxyCommand needs one connection and not two."""
CLOSE_SECONDS = 1.0
"""What saying goodbye may take; the machine's side has been cut before."""
LINGER_SECONDS = 60.0
"""How long a client may go on sending after the machine has said that it will send no more."""


async def stream(socket: WebSocket) -> None:
    """Refusals come as problem+json before the upgrade; later ends as close codes 4401, 4403, 4409 (4000 + HTTP status)."""
    held = parts(socket)
    try:
        check_query(socket)
        check_origin(socket)
        carried, host_key = await _permitted(held, socket)
        with held.hub.carrying(carried):
            reader, writer = await held.dial(carried.ipv4)
            await _carry(socket, carried, host_key, reader, writer)
    except GarageError as error:
        await socket.send_denial_response(problems.response(socket, error))


async def _permitted(held: Parts, socket: WebSocket) -> tuple[Carried, str]:
    """(the stream to be, the machine's host key). Raises `not_signed_in`, `not_found` or `wrong_state`."""
    caller, credential = await authenticate(held.ctx, socket)
    machine = await run_in_threadpool(machines.get, held.ctx, caller, socket.path_params["ref"])
    _check_running(machine)
    return Carried(credential, caller, machine.id, machine.ipv4), machine.host_key


def _check_running(machine: MachineView) -> None:
    if machine.state not in live.CARRIED:
        hint = N_("start it: garage machine start {name}") if "start" in machine.actions else ""
        raise GarageError("wrong_state", N_("{name} is {state}"), hint=hint, name=machine.name, state=machine.state)


async def _carry(
    socket: WebSocket, carried: Carried, host_key: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Pump until either end closes or the rights end."""
    pump: asyncio.Task[None] | None = None
    try:
        await socket.accept(headers=[(HOST_KEY, host_key.encode("ascii"))])
        pump = asyncio.create_task(_pump(socket, reader, writer))
        waited: set[asyncio.Future[object]] = {pump, carried.ended}  # type: ignore[arg-type]
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        code, reason = carried.ended.result() if carried.ended.done() else (1000, "")
    finally:
        if pump:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)
        if carried.ended.done():
            writer.transport.abort()
        writer.close()
    with contextlib.suppress(Exception):  # the client may have gone first, or not read what it was sent
        await asyncio.wait_for(socket.close(code, reason), CLOSE_SECONDS)


async def _pump(socket: WebSocket, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the client is gone, or both have said that they will send no more."""
    said_all = asyncio.Event()
    up = asyncio.create_task(_up(socket, writer, said_all))
    down = asyncio.create_task(_down(socket, reader))
    last_word = asyncio.create_task(said_all.wait())
    try:
        await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        if not up.done():
            await asyncio.wait({up, last_word}, timeout=LINGER_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (up, down, last_word):
            task.cancel()
        await asyncio.gather(up, down, last_word, return_exceptions=True)


async def _up(socket: WebSocket, writer: asyncio.StreamWriter, said_all: asyncio.Event) -> None:
    """Client to machine, until the client is gone or the machine takes no more."""
    while (message := await socket.receive())["type"] == "websocket.receive":
        if data := message.get("bytes"):
            writer.write(data)
            await writer.drain()
        elif message.get("text") == EOF and writer.can_write_eof():
            writer.write_eof()
            said_all.set()


async def _down(socket: WebSocket, reader: asyncio.StreamReader) -> None:
    """Machine to client, until the machine says that it will send no more."""
    while data := await reader.read(CHUNK):
        await socket.send_bytes(data)
    await socket.send_text(EOF)
