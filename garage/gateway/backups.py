"""`GET /api/v1/backup`, `POST /api/v1/restore`: an admin takes all rows along as a file, and brings them back."""

from __future__ import annotations

import os
import tempfile
from dataclasses import asdict
from pathlib import Path

from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from garage.api.asyncdoc import BACKUP
from garage.api.schemas import rfc3339
from garage.errors import N_, GarageError
from garage.gateway.auth import authenticate, bearer
from garage.gateway.body import chunks
from garage.gateway.parts import parts
from garage.gateway.query import check_query
from garage.services import backups
from garage.services.context import Caller, Context
from garage.services.live import Credential
from garage.services.rights import require_admin

LIMIT = 4 << 30
"""Bytes of a backup that is taken in."""


async def give(request: Request) -> Response:
    """The file is made whole before its first byte leaves: its snapshot is of one moment, however slow the reader."""
    ctx, caller, _ = await _admin(request)
    path = _temporary()
    try:
        await run_in_threadpool(_write, ctx, caller, path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    name = f"garage-{ctx.config.instance}.backup"
    return FileResponse(
        path,
        media_type=BACKUP,
        filename=name,
        headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
        background=BackgroundTask(path.unlink, missing_ok=True),
    )


async def take(request: Request) -> Response:
    """Nothing is touched before the whole file is here and has been looked through."""
    ctx, caller, credential = await _admin(request)
    path = _temporary()
    try:
        with path.open("wb") as file:
            async for chunk in chunks(request.stream(), LIMIT):
                await run_in_threadpool(file.write, chunk)
        done = await run_in_threadpool(backups.restore, ctx, caller, path, token_hash=credential.hash)
    finally:
        path.unlink(missing_ok=True)
    return JSONResponse({**asdict(done), "made_at": rfc3339(done.made_at)})


async def _admin(request: Request) -> tuple[Context, Caller, Credential]:
    """By a bearer token alone: no page of a browser reads all there is, or replaces it."""
    check_query(request)
    if bearer(request) is None:
        raise GarageError(
            "not_signed_in", N_("no valid token came with the request"), hint=N_("sign in with “garage login”")
        )
    ctx = parts(request).ctx
    caller, credential = await authenticate(ctx, request)
    require_admin(caller)
    return ctx, caller, credential


def _write(ctx: Context, caller: Caller, path: Path) -> None:
    with path.open("wb") as file:
        backups.backup(ctx, caller, file)


def _temporary() -> Path:
    """Of mode 0600."""
    handle, name = tempfile.mkstemp(prefix="garage-backup-")
    os.close(handle)
    return Path(name)
