"""What an admin tells everybody: written here, shown at the top of every page."""

from __future__ import annotations

from datetime import datetime

from flask import Response, make_response, redirect, request

from garage.errors import N_, GarageError
from garage.services import announcements
from garage.services.announcements import AnnouncementView, NewAnnouncement
from web import format as fmt
from web import forms
from web.pages.base import bp, page, refused, to
from web.session import admin, ctx, safe_next, set_preference

READ_COOKIE = "garage-read"
"""The id of the announcement that this browser's reader has closed."""


def shown() -> AnnouncementView | None:
    """What stands at the top of this page. An error page is shown also while the database is away."""
    try:
        found = announcements.current(ctx())
    except GarageError:
        return None
    closed = found is not None and found.severity == "info" and request.cookies.get(READ_COOKIE, "") == found.id
    return None if closed else found


@bp.get("/announcement")
def announcement_page() -> Response:
    return page("announcement.html", stored=announcements.stored(ctx(), admin()))


@bp.post("/announcement")
def announcement_set() -> Response:
    who = admin()
    try:
        wanted = NewAnnouncement(
            forms.lines("text_en", limit=2000),
            forms.lines("text_ja", limit=2000),
            forms.text("severity", default="info"),
            _moment("since"),
            _moment("until"),
        )
        announcements.put(ctx(), who, wanted)
    except GarageError as error:
        return refused("announcement.html", error, stored=announcements.stored(ctx(), who))
    return to("announcement_page")


@bp.post("/announcement/clear")
def announcement_clear() -> Response:
    announcements.clear(ctx(), admin())
    return to("announcement_page")


@bp.post("/announcement/<ref>/read")
def announcement_read(ref: str) -> Response:
    """This browser shows it no more; whoever sits there need not be signed in."""
    response = make_response(redirect(safe_next(forms.text("next", limit=500)), 303))
    set_preference(response, READ_COOKIE, forms.reference(ref)[:20])
    return response


def _moment(name: str) -> float | None:
    """A date with a time in the reader's time zone; None where the field is empty."""
    text = forms.text(name)
    try:
        return datetime.fromisoformat(text).replace(tzinfo=fmt.zone()).timestamp() if text else None
    except (ValueError, OverflowError):
        hint = N_("e.g. 2026-11-20T14:05")
        raise GarageError(
            "invalid_field", N_("there is no time {value}"), hint=hint, pointer=f"/{name}", value=text
        ) from None
