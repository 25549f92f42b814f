"""`PUT /api/v1/image-tasks/{ref}/file`: an image's file, streamed to the disk; one that was cut off is gone on with."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from garage.errors import N_, GarageError
from garage.gateway.auth import authenticate, bearer
from garage.gateway.body import chunks
from garage.gateway.parts import parts
from garage.gateway.query import check_query
from garage.services import image_tasks
from garage.services.context import Context

BATCH = 1 << 20
"""Bytes that are written at once."""


async def take(request: Request) -> Response:
    """What follows byte `?offset=` of the file; the answer says how much is here. What has come stays when the rest does not."""
    check_query(request, "offset")
    if bearer(request) is None:  # no page of a browser uploads by a person's session
        raise GarageError(
            "not_signed_in", N_("no valid token came with the request"), hint=N_("sign in with “garage login”")
        )
    ctx = parts(request).ctx
    caller, _ = await authenticate(ctx, request)
    task, total = await run_in_threadpool(image_tasks.uploading, ctx, caller, request.path_params["ref"])
    offset = _offset(request)
    with _file(ctx, task, offset, total) as file:
        try:
            await _write(chunks(request.stream(), total - offset), file)
        except ClientDisconnect:
            raise GarageError("malformed_request", N_("the request was cut off")) from None
        finally:
            done = await run_in_threadpool(_settle, ctx, task, file)
    return JSONResponse({"done": done, "total": total})


def _offset(request: Request) -> int:
    given = request.query_params.get("offset", "0")
    if given.isascii() and given.isdigit() and len(given) < 16:
        return int(given)
    raise GarageError(
        "invalid_field", N_("offset is a number of bytes"), hint=N_("go on where it ended"), pointer="/offset"
    )


@contextmanager
def _file(ctx: Context, task: str, offset: int, total: int) -> Any:
    """Open for one upload at a time, at `offset`; raises `wrong_state` when the file does not end there."""
    folder = ctx.config.home / "uploads"
    folder.mkdir(mode=0o700, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    with open(os.open(folder / task, flags, 0o600), "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise GarageError(
                "in_use", N_("another upload of it is under way"), hint=N_("wait until that has ended")
            ) from None
        if (have := file.seek(0, os.SEEK_END)) != offset:
            text, hint = N_("{have} bytes of it are here"), N_("go on with ?offset={have}")
            raise GarageError("wrong_state", text, hint=hint, have=have)
        _check_room(ctx, folder, total - offset)
        yield file


def _check_room(ctx: Context, folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free - (ctx.config.disk_reserve_mib << 20)
    if free < needed:
        raise GarageError(
            "disk_full", N_("the node has no disk space left"), hint=N_("delete machines or images that nobody needs")
        )


async def _write(stream: AsyncIterator[bytes], file: IO[bytes]) -> None:
    batch = bytearray()
    try:
        async for chunk in stream:
            batch += chunk
            if len(batch) >= BATCH:
                await run_in_threadpool(file.write, bytes(batch))
                batch.clear()
    finally:
        file.write(batch)


def _settle(ctx: Context, task: str, file: IO[bytes]) -> int:
    """On the disk, and told; the bytes that are here."""
    file.flush()
    os.fsync(file.fileno())
    done = file.seek(0, os.SEEK_END)
    image_tasks.uploaded(ctx, task, done)
    return done
