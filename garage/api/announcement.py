"""Routes of the announcement at the top of every page."""

from __future__ import annotations

from typing import Any, Literal

from flask import Response
from pydantic import BaseModel, Field

from garage.api.audit_schemas import When, seconds
from garage.api.base import answer, blueprint, caller, context, mutate
from garage.api.schemas import In, MutationHeader, Out, Text, Time
from garage.services import announcements
from garage.services.announcements import AnnouncementView, NewAnnouncement

api = blueprint("announcement", "garage")


class AnnouncementIn(In):
    text_en: Text = Field(max_length=announcements.MOST, description="Plain text in English …")
    text_ja: Text = Field(max_length=announcements.MOST, description="… and in Japanese.")
    severity: Literal["info", "warning"] = Field("info", description="Who has read an info may close it.")
    since: When | None = Field(None, description="Shown from then on: a date (UTC), or RFC 3339. Default: from now on.")
    until: When | None = Field(None, description="Not shown from then on. Default: until it is cleared.")


class AnnouncementOut(Out):
    text_en: str
    text_ja: str
    severity: Literal["info", "warning"]
    since: Time
    until: Time | None
    shown: bool = Field(description="At this moment.")


class AnnouncementState(BaseModel):
    announcement: AnnouncementOut | None


@api.get("/announcement", responses={200: AnnouncementState})
def get_announcement() -> dict[str, Any]:
    """What stands at the top of every page now; for an admin also what will, or did."""
    return _state(announcements.stored(context(), caller()))


@api.put("/announcement", responses={200: AnnouncementState})
def put_announcement(header: MutationHeader, body: AnnouncementIn) -> Response:  # noqa: ARG001
    """Tell everybody something, in place of what was told before (admin)."""
    who = caller()
    wanted = NewAnnouncement(body.text_en, body.text_ja, body.severity, seconds(body.since), seconds(body.until))
    return mutate(200, lambda ctx: _state(announcements.put(ctx, who, wanted)))


@api.delete("/announcement", responses={204: None})
def delete_announcement(header: MutationHeader) -> Response:  # noqa: ARG001
    """Tell it no more (admin)."""
    who = caller()
    return mutate(204, lambda ctx: announcements.clear(ctx, who))


def _state(found: AnnouncementView | None) -> dict[str, Any]:
    return {"announcement": None if found is None else answer(AnnouncementOut, found)}
