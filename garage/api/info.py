"""Routes that tell: sizes, pools, the state of the whole."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Response

from garage import __version__
from garage.api import node_schemas as t
from garage.api import schemas as s
from garage.api.base import answer, blueprint, caller, context, items, mutate
from garage.core.states import State
from garage.services import machines, outlook, own_site, pool_views, silencing

api = blueprint("info", "garage")


@api.get("/sizes", responses={200: t.SizeList})
def list_sizes() -> dict[str, Any]:
    """Sizes, the smallest first."""
    caller()
    return items(t.SizeOut, outlook.sizes(context()))


@api.get("/pools", responses={200: t.PoolList})
def list_pools() -> dict[str, Any]:
    """Machines that wait, by image and size, with how often a request found one (admin, auditor)."""
    return items(t.PoolOut, pool_views.listing(context(), caller()))


@api.put("/pools/<image>/<size>", responses={200: t.PoolOut})
def fix_pool(header: s.MutationHeader, path: t.PoolPath, body: t.PoolIn) -> Response:  # noqa: ARG001
    """Say how many machines wait per node, or let demand say it (admin)."""
    who = caller()
    return mutate(200, lambda ctx: answer(t.PoolOut, pool_views.fix(ctx, who, path.image, path.size, body.fixed)))


@api.get("/status", responses={200: t.StatusOut})
def status() -> dict[str, Any]:
    """Whether everything answers, and how long a machine takes at present."""
    caller()
    ctx = context()
    health = outlook.health(ctx)
    return {
        "version": __version__,
        "organisation": ctx.config.organisation,
        "site": own_site.own(ctx).name,
        "ready": health.ready,
        "parts": asdict(health),
        "forecast": answer(t.ForecastOut, outlook.forecast(ctx)),
        "machines": sum(count for state, count in machines.counts(ctx).items() if state != State.SPARE.value),
        "fault_ours": silencing.fault_is_ours(ctx),
    }
