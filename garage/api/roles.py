"""Routes by which an admin gives and takes roles of the organisation."""

from __future__ import annotations

from typing import Literal

from flask import Response
from pydantic import Field

from garage.api.base import answer, blueprint, caller, mutate
from garage.api.schemas import In, MutationHeader, NameIn, NoQuery, Ref, Text, UserOut
from garage.services import roles

api = blueprint("roles", "people")

Role = Literal["auditor", "operator"]


class GrantIn(In):
    role: Role
    site: NameIn | None = Field(None, description="An operator's; this garage's own by default.")


class GrantRef(Ref):
    role: Role


class GrantQuery(NoQuery):
    site: Text = Field("", max_length=63, description="An operator's; this garage's own by default.")


@api.post("/users/<ref>/grants", responses={200: UserOut})
def grant(header: MutationHeader, path: Ref, body: GrantIn) -> Response:  # noqa: ARG001
    """Make a user an auditor, or an operator of a site (admin)."""
    who = caller()
    return mutate(200, lambda ctx: answer(UserOut, roles.grant(ctx, who, path.ref, body.role, body.site or "")))


@api.delete("/users/<ref>/grants/<role>", responses={200: UserOut})
def revoke(header: MutationHeader, path: GrantRef, query: GrantQuery) -> Response:  # noqa: ARG001
    """Take a role from a user; what it let them see and do ends at once (admin)."""
    who = caller()
    return mutate(200, lambda ctx: answer(UserOut, roles.revoke(ctx, who, path.ref, path.role, query.site)))
