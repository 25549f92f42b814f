"""A machine's limits."""

from __future__ import annotations

from flask import Response
from pydantic import Field

from garage.api import machine_schemas as t
from garage.api import schemas as s
from garage.api.base import blueprint, caller, mutate
from garage.api.machines import shown
from garage.core.machine_limits import MOST
from garage.services import limiting

api = blueprint("limits", "machines", "/machines")


class LimitsIn(s.In):
    """What is left out stays; null: as its size has it; 0: no limit."""

    disk_iops: int | None = Field(None, ge=0, le=MOST["disk_iops"], description="Reads and writes per second.")
    disk_mb: int | None = Field(None, ge=0, le=MOST["disk_mb"], description="10⁶ bytes per second.")
    net_mbit: int | None = Field(None, ge=0, le=MOST["net_mbit"], description="10⁶ bits per second, each way.")
    connections: int | None = Field(None, ge=0, le=MOST["connections"], description="Open at the same time.")


@api.put("/<ref>/limits", responses={200: t.MachineOut})
def limit_machine(header: s.MutationHeader, path: s.Ref, body: LimitsIn) -> Response:  # noqa: ARG001
    """Set what a machine may take of what its node shares; in force at once, also while it runs (admin)."""
    who, changes = caller(), body.model_dump(exclude_unset=True)
    return mutate(200, lambda ctx: shown(limiting.limit(ctx, who, path.ref, changes)))
