"""`/cli/`: the client as a wheel, so that a laptop needs nothing but this controller's URL and pip."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response

from garage.errors import N_, GarageError
from garage.gateway.parts import parts

WHEEL = re.compile(r"garage_cli-[A-Za-z0-9.+!_]{1,40}-py3-none-any\.whl")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


async def index(request: Request) -> Response:
    """A page of links (the simple index of PyPA's specifications), newest first: `pip install --find-links URL/cli/ garage-cli`."""
    names = await run_in_threadpool(wheels, parts(request).ctx.config.home)
    links = "".join(f'<li><a href="{escape(name)}">{escape(name)}</a></li>' for name in names)
    page = f"<!DOCTYPE html><html lang=en><title>garage-cli</title><ul>{links}</ul></html>"
    return HTMLResponse(page, headers=HEADERS)


async def wheel(request: Request) -> Response:
    """One wheel under its own name, since pip reads the version from it."""
    home, name = parts(request).ctx.config.home, request.path_params["name"]
    if name not in await run_in_threadpool(wheels, home):
        raise GarageError("not_found", N_("there is nothing at this address"))
    return FileResponse(home / "wheels" / name, media_type="application/zip", headers=HEADERS)


def wheels(home: Path) -> list[str]:
    """Names of the wheels on offer, the newest file first."""
    found = [path for path in (home / "wheels").glob("*.whl") if WHEEL.fullmatch(path.name)]
    return [path.name for path in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)]
