"""Routes of what an admin says of a node: empty it, work on it, take it back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from flask import Response

from garage.api import schemas as s
from garage.api.base import answer, blueprint, caller, context, failure, mutate
from garage.api.drain_schemas import DrainOut
from garage.services import drains
from garage.services.context import Caller, Context
from garage.services.drain_views import DrainView

api = blueprint("drains", "nodes", "/nodes")


def shown(view: DrainView) -> dict[str, Any]:
    """A drain's JSON, the reasons in the caller's language."""
    body = asdict(view)
    for item in (*body["machines"], *body["moves"]):
        item["reason"] = failure(item["reason"])
    return answer(DrainOut, body)


@api.get("/<ref>/drain", responses={200: DrainOut})
def get_drain(path: s.Ref) -> dict[str, Any]:
    """What emptying a node would do with each of its machines, or does; and what has moved (admin, auditor, operator). Changes nothing."""
    return shown(drains.preview(context(), caller(), path.ref))


@api.post("/<ref>/drain", responses={202: DrainOut})
def drain_node(header: s.MutationHeader, path: s.Ref) -> Response:  # noqa: ARG001
    """Empty a node: it takes no machine, and its machines move to others, one at a time (admin, operator)."""
    return _act(202, path.ref, drains.drain)


@api.post("/<ref>/activate", responses={200: DrainOut})
def activate_node(header: s.MutationHeader, path: s.Ref) -> Response:  # noqa: ARG001
    """Let a node take machines again (admin, operator)."""
    return _act(200, path.ref, drains.activate)


@api.post("/<ref>/maintenance", responses={200: DrainOut})
def maintain_node(header: s.MutationHeader, path: s.Ref) -> Response:  # noqa: ARG001
    """Say that a node on which nothing runs may be switched off (admin, operator)."""
    return _act(200, path.ref, drains.maintain)


def _act(status: int, ref: str, service: Callable[[Context, Caller, str], DrainView]) -> Response:
    who = caller()
    return mutate(status, lambda ctx: shown(service(ctx, who, ref)))
