"""Routes by which an admin lets somebody go."""

from __future__ import annotations

from typing import Any, Literal

from flask import Response
from pydantic import Field

from garage.api.base import answer, blueprint, caller, context, mutate
from garage.api.schemas import In, MutationHeader, Out, Ref, Text
from garage.services import offboarding

api = blueprint("offboarding", "people")


class OffboardIn(In):
    to: Text = Field(
        "", max_length=32, description="Who takes over what they alone own; its machines are deleted without."
    )


class KeyStateOut(Out):
    machine: str
    project: str
    state: Literal["gone", "waiting", "stopped", "unreachable"]


class OffboardOut(Out):
    name: str
    to: str
    projects: list[str] = Field(description="Handed over.")
    deleted: int = Field(description="Machines that are being deleted.")
    keys: list[KeyStateOut] = Field(description="Machines that knew their SSH keys, and whether they still do.")


@api.post("/users/<ref>/offboard", responses={200: OffboardOut})
def offboard(header: MutationHeader, path: Ref, body: OffboardIn) -> Response:  # noqa: ARG001
    """End all that lets a user in, and hand over or delete what they alone own (admin)."""
    who = caller()
    return mutate(200, lambda ctx: answer(OffboardOut, offboarding.offboard(ctx, who, path.ref, to=body.to)))


@api.get("/users/<ref>/offboarding", responses={200: OffboardOut})
def progress(path: Ref) -> dict[str, Any]:
    """How far a user's keys are removed from machines (admin, auditor)."""
    return answer(OffboardOut, offboarding.progress(context(), caller(), path.ref))
