"""Routes of renumbering: what it would change, and the order to do it (admin)."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Response
from pydantic import BaseModel, Field

from garage.api import schemas as s
from garage.api.base import blueprint, caller, context, mutate
from garage.services import renumbering
from garage.services.context import Context
from garage.services.renumbering import Renumbering

api = blueprint("renumbering", "sites")


class MoveOut(s.Out):
    id: str
    name: str
    project: str
    state: str
    restarts: bool = Field(description="It runs, and is restarted.")
    ipv4_before: str
    ipv6_before: str
    ipv4: str
    ipv6: str


class RenumberingOut(BaseModel):
    needed: bool = Field(description="False where this site has the prefixes that its registry gave it.")
    ipv4_before: str
    ipv6_before: str
    ipv4: str
    ipv6: str
    digest: str = Field(description="Names this plan; what is ordered is this plan or nothing.")
    machines: list[MoveOut]


class RenumberingIn(s.In):
    digest: str = Field(min_length=16, max_length=16, description="Of the plan that was looked at.")


@api.get("/renumbering", responses={200: RenumberingOut})
def get_renumbering() -> dict[str, Any]:
    """What this garage's site would change to take the prefixes that its registry gave it (admin, auditor)."""
    return _answer(renumbering.plan(context(), caller()))


@api.post("/renumbering", responses={202: RenumberingOut})
def renumber(header: s.MutationHeader, body: RenumberingIn) -> Response:  # noqa: ARG001
    """Do it: the machines that run are restarted with new addresses (admin)."""
    who = caller()

    def act(ctx: Context) -> dict[str, Any]:
        return _answer(renumbering.carry_out(ctx, who, body.digest))

    return mutate(202, act)


def _answer(found: Renumbering) -> dict[str, Any]:
    (ipv4_before, ipv6_before), (ipv4, ipv6) = found.before, found.after
    prefixes = {"ipv4_before": ipv4_before, "ipv6_before": ipv6_before, "ipv4": ipv4, "ipv6": ipv6}
    machines = [asdict(move) | {"restarts": move.restarts} for move in found.moves]
    return {"needed": found.needed, "digest": found.digest, "machines": machines, **prefixes}
