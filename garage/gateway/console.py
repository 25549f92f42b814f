"""`GET /api/v1/machines/{ref}/console`: the end of a machine's serial console as plain text."""

from __future__ import annotations

from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from garage.core.console import MAX_BYTES, clean
from garage.errors import N_, GarageError
from garage.gateway.auth import authenticate
from garage.gateway.parts import parts
from garage.gateway.query import check_query
from garage.services import machines

MAX_KIB = MAX_BYTES // 1024


async def tail(request: Request) -> Response:
    """The last `?kib=` (1-64, default 64) KiB without escape codes; empty before the first boot."""
    check_query(request, "kib")
    held = parts(request)
    caller, _ = await authenticate(held.ctx, request)
    kib = _kib(request)
    machine = await run_in_threadpool(machines.get, held.ctx, caller, request.path_params["ref"])
    log = held.ctx.config.home / "console" / f"{machine.id}.log"
    text = await run_in_threadpool(read_tail, log, kib * 1024)
    return PlainTextResponse(text, headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"})


def _kib(request: Request) -> int:
    given = request.query_params.get("kib", str(MAX_KIB))
    if given.isascii() and given.isdigit() and len(given) < 5 and 1 <= int(given) <= MAX_KIB:
        return int(given)
    raise GarageError(
        "invalid_field",
        N_("kib is 1 to {limit}"),
        hint=N_("leave it out to have all that is kept"),
        pointer="/kib",
        limit=MAX_KIB,
    )


def read_tail(path: Path, limit: int) -> str:
    """The end of a log of virtlogd, at most `limit` bytes, from a line's beginning where one begins in them; "" while there is none."""
    try:
        with path.open("rb") as log:
            size = log.seek(0, 2)
            log.seek(max(0, size - limit))
            data = log.read(limit)
    except FileNotFoundError:
        return ""
    except PermissionError:
        raise GarageError("unavailable", N_("the console log cannot be read at the moment")) from None
    if size > limit:
        cut, newline, whole = data.partition(b"\n")
        data = whole if newline and whole.strip() else cut
    return clean(data)
