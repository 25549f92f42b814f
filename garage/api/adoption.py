"""Routes of what follows a restore: what differs between database and nodes, and the order to go on (admin)."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Response
from pydantic import BaseModel, Field

from garage.api import schemas as s
from garage.api.base import blueprint, caller, context, mutate
from garage.core.adoption import Do
from garage.services import adoption
from garage.services.adoption import Plan
from garage.services.context import Context

api = blueprint("adoption", "garage")


class AdoptionStepOut(s.Out):
    node: str
    id: str
    name: str = Field(description="Empty for a domain that the database has no machine for.")
    state: str
    power: str = Field(description="Of the domain; empty where there is none.")
    do: Do


class AdoptionOut(BaseModel):
    needed: bool = Field(description="False unless nodes wait since a restore.")
    since: s.Time | None
    nodes: list[str] = Field(description="Looked at; they are adopted.")
    waiting: list[str] = Field(
        description="They stay as they are: not looked at yet, or a machine of theirs may be on one that was not."
    )
    steps: list[AdoptionStepOut]
    digest: str = Field(description="Names this plan; what is ordered is this plan or nothing.")


class AdoptionIn(s.In):
    digest: str = Field(min_length=16, max_length=16, description="Of the plan that was looked at.")


@api.get("/adoption", responses={200: AdoptionOut})
def get_adoption() -> dict[str, Any]:
    """After a restore: what differs between database and nodes, and what becomes of it (admin, auditor)."""
    return _answer(adoption.plan(context(), caller()))


@api.post("/adoption", responses={202: AdoptionOut})
def adopt(header: s.MutationHeader, body: AdoptionIn) -> Response:  # noqa: ARG001
    """Do it: work goes on at the nodes that were looked at (admin)."""
    who = caller()

    def act(ctx: Context) -> dict[str, Any]:
        return _answer(adoption.adopt(ctx, who, body.digest))

    return mutate(202, act)


def _answer(found: Plan) -> dict[str, Any]:
    return AdoptionOut.model_validate(asdict(found)).model_dump(mode="json")
