"""`GET /api/v1/machines/{ref}/disk`: the file that a worker has made of a machine's disk; with `Range` a download is gone on with."""

from __future__ import annotations

import base64

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from garage.errors import N_, GarageError
from garage.gateway.auth import authenticate
from garage.gateway.parts import parts
from garage.gateway.query import check_query
from garage.services import disk_copies

KIND = "application/octet-stream"


async def give(request: Request) -> Response:
    """By a token, or by a browser's session from a link. The digest (RFC 9530) is of the whole file."""
    check_query(request)
    ctx = parts(request).ctx
    caller, _ = await authenticate(ctx, request)
    ref, looking = request.path_params["ref"], request.method == "HEAD"
    found = await run_in_threadpool(disk_copies.fetch, ctx, caller, ref, looking=looking)
    path = ctx.config.home / disk_copies.FOLDER / found.file
    if not path.is_file():
        raise GarageError("unavailable", N_("the copy of the disk is not there any more"), hint=N_("ask for another"))
    digest = base64.b64encode(bytes.fromhex(found.sha256)).decode()
    headers = {
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Repr-Digest": f"sha-256=:{digest}:",
    }
    return FileResponse(path, media_type=KIND, filename=found.name, headers=headers)
