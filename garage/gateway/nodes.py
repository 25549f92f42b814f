"""What a node's netd asks: its spec, as soon as there is a newer one; and what it reports about itself."""

from __future__ import annotations

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from garage.errors import N_, GarageError
from garage.gateway.auth import bearer
from garage.gateway.body import read_body
from garage.gateway.parts import parts
from garage.services import nodes, own_site
from garage.services.context import Context
from netd import wire

MAX_WAIT = 55.0
"""Seconds: below the minute after which usual proxies give a silent request up."""
MAX_REPORT = 1024 * 1024


async def spec(request: Request) -> Response:
    """`?after=N&wait=SECONDS&knows=limits`: 200 with the signed spec newer than N, or 204 when there was none for so long."""
    held = parts(request)
    name = await _node(held.ctx, request)
    after, wait = _number(request, "after", 0, 1 << 62), _number(request, "wait", 0, 3600)
    limits = wire.LIMITS in request.query_params.get("knows", "").split(",")
    sealed = await run_in_threadpool(nodes.sealed_spec, held.ctx, name, after, limits=limits)
    if sealed is None and wait:
        await held.hub.newer_spec(name, after, min(float(wait), MAX_WAIT))
        if await _node(held.ctx, request) == name:
            sealed = await run_in_threadpool(nodes.sealed_spec, held.ctx, name, after, limits=limits)
    if sealed is None:
        return Response(status_code=204, headers={"Cache-Control": "no-store"})
    asked = await run_in_threadpool(nodes.asked_by, held.ctx, name, after)
    headers = {"Cache-Control": "no-store", **({"Garage-Requests": ", ".join(asked)} if asked else {})}
    return Response(sealed, media_type="application/json", headers=headers)


async def report(request: Request) -> Response:
    """204; a node reports about itself alone (`forbidden` otherwise)."""
    held = parts(request)
    name = await _node(held.ctx, request)
    body = await read_body(request.receive, MAX_REPORT)
    try:
        said = msgspec.json.decode(body, type=wire.Report)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise GarageError("malformed_request", N_("this is no report: {reason}"), reason=str(error)[:200]) from None
    if said.node != name:
        raise GarageError("forbidden", N_("{node} reports about itself alone"), node=name)
    await run_in_threadpool(nodes.report, held.ctx, name, said)
    return Response(status_code=204)


async def invitation(request: Request) -> Response:
    """200 with a token for `netd join` when this garage keeps a registry that the node has not joined yet, else 204."""
    held = parts(request)
    name = await _node(held.ctx, request)
    token = await run_in_threadpool(own_site.invitation, held.ctx, name)
    headers = {"Cache-Control": "no-store"}
    return (
        Response(token, media_type="text/plain", headers=headers)
        if token
        else Response(status_code=204, headers=headers)
    )


async def _node(ctx: Context, request: Request) -> str:
    if (token := bearer(request)) and (name := await run_in_threadpool(nodes.authenticate, ctx, token)):
        return name
    raise GarageError("not_signed_in", N_("this is not the token of a node"), hint=N_("see netd.toml on the node"))


def _number(request: Request, name: str, low: int, high: int) -> int:
    given = request.query_params.get(name, "0")
    if given.isascii() and given.isdigit() and len(given) < 20 and low <= int(given) <= high:
        return int(given)
    raise GarageError("invalid_field", N_("{field} must be a whole number"), pointer=f"/{name}", field=name)
