"""A route that looks at user-data before a machine is asked for."""

from __future__ import annotations

from flask import Response
from pydantic import BaseModel, Field

from garage.api import machine_schemas as t
from garage.api import schemas as s
from garage.api.base import blueprint, caller, mutate
from garage.api.images import ImageRef
from garage.api.machines import warned
from garage.services import user_data

api = blueprint("user-data", "images")


class UserDataIn(s.In):
    user_data: str = Field(max_length=65_536, description="cloud-init user-data.")


class UserDataOut(BaseModel):
    """It would be taken."""

    warnings: list[t.WarningOut]


@api.post("/images/<ref>/user-data", responses={200: UserDataOut})
def check_user_data(header: s.MutationHeader, path: ImageRef, body: UserDataIn) -> Response:  # noqa: ARG001
    """Whether machines of an image take this user-data, as a request for one would say; nothing is made."""
    who = caller()
    return mutate(200, lambda ctx: {"warnings": warned(user_data.check_for(ctx, who, path.ref, body.user_data))})
