"""Routes of throughput: order a measurement, see what came of it (admin)."""

from __future__ import annotations

from typing import Any

from flask import Response
from pydantic import BaseModel, Field

from garage.api import schemas as s
from garage.api.base import answer, blueprint, caller, context, items, mutate
from garage.api.site_schemas import SiteRef
from garage.services import throughput
from garage.services.context import Context

api = blueprint("measurements", "sites")


class MeasurementRef(s.NoQuery):
    ref: str = Field(max_length=64)


class MeasurementQuery(s.NoQuery):
    peer: str | None = Field(None, max_length=64, description="Only those between this site and the other one.")


class MeasurementIn(s.In):
    peer: s.NameIn = Field(description="The site at the other end of a link.")
    seconds: int | None = Field(None, ge=1, le=5, description="Of each direction.")
    mbit: int | None = Field(None, ge=1, le=10_000, description="Most Mb/s that are sent.")


class MeasurementOut(s.Out):
    id: str
    link: int
    site: str
    peer: str
    state: str = Field(description="waiting (its sites are measuring), running, done, failed")
    asked_by: str = Field(description="Empty for the schedule.")
    asked_at: s.Time
    ended_at: s.Time | None
    seconds: int
    mbit: int
    sent_bps: float | None = Field(description="From `site` to `peer`: bits per second that arrived.")
    sent_retransmits: int | None
    received_bps: float | None = Field(description="From `peer` to `site`.")
    received_retransmits: int | None
    error: str


class MeasurementList(BaseModel):
    items: list[MeasurementOut]


@api.post("/sites/<ref>/measurements", responses={202: MeasurementOut})
def measure(header: s.MutationHeader, path: SiteRef, body: MeasurementIn) -> Response:  # noqa: ARG001
    """Measure the throughput of the link to another site, both ways; one that is under way is not begun anew (admin, its operator)."""
    who = caller()

    def act(ctx: Context) -> dict[str, Any]:
        view = throughput.measure(ctx, who, path.ref, body.peer, seconds=body.seconds, mbit=body.mbit)
        return answer(MeasurementOut, view)

    return mutate(202, act)


@api.get("/sites/<ref>/measurements", responses={200: MeasurementList})
def list_measurements(path: SiteRef, query: MeasurementQuery) -> dict[str, Any]:
    """A site's latest hundred measurements of throughput, the newest first (admin, auditor, operator)."""
    return items(MeasurementOut, throughput.listing(context(), caller(), path.ref, query.peer))


@api.get("/measurements/<ref>", responses={200: MeasurementOut})
def get_measurement(path: MeasurementRef) -> dict[str, Any]:
    """One measurement of throughput (admin, auditor, operator)."""
    return answer(MeasurementOut, throughput.get(context(), caller(), path.ref))
