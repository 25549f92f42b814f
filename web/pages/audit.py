"""The audit log: looked through by user, action, subject, project and time; admins and auditors have its seals verified."""

from __future__ import annotations

import shlex
from datetime import date, datetime, timedelta

from flask import Response, request

from garage.errors import N_, GarageError
from garage.services import audits, projects, sealing
from garage.services.audits import Search
from web import format as fmt
from web import forms
from web.pages.base import bp, page
from web.session import caller, ctx, reader

DATE = r"\d{4}-\d\d-\d\d"


@bp.get("/audit")
def audit_list() -> Response:
    who, cursor = caller(), forms.query("cursor", limit=18, pattern="[0-9]+")
    asked = {name: forms.query(name, pattern=pattern) for name, pattern in PATTERNS.items()}
    since, until = _midnight("since"), _midnight("until", days=1)
    search = Search(asked["user"], asked["action"], asked["project"], since, until, subject=asked["subject"])
    return page(
        "audit.html",
        found=audits.listing(ctx(), who, search, cursor=cursor or None),
        cursor=cursor,
        asked=asked,
        command=_command(asked),
        projects=projects.readable_names(ctx(), who),
        proof=sealing.verify(ctx(), reader()) if "verify" in request.args else None,
    )


PATTERNS = {
    "user": "[A-Za-z0-9._@+-]+",
    "action": r"[a-z_]+(\.[a-z_]+)?",
    "subject": "",
    "project": "",
    "since": DATE,
    "until": DATE,
}
"""What may be asked for; `until` is the last day that is shown."""


def _command(asked: dict[str, str]) -> str:
    """What exports the same entries; for the command, `until` is the first day that is left out."""
    day = asked["until"] and str(date.fromisoformat(asked["until"]) + timedelta(days=1))
    wanted = [f"--{name} {shlex.quote(value)}" for name, value in {**asked, "until": day}.items() if value]
    return " ".join(["garage audit export", *wanted])


def _midnight(name: str, *, days: int = 0) -> float | None:
    """The beginning of a day, in the reader's time zone, so many days later; None where none is asked for."""
    text = forms.query(name, pattern=DATE)
    try:
        return (
            (datetime.fromisoformat(text) + timedelta(days=days)).replace(tzinfo=fmt.zone()).timestamp()
            if text
            else None
        )
    except (ValueError, OverflowError):
        hint = N_("e.g. 2026-11-20")
        raise GarageError(
            "invalid_field", N_("there is no day {value}"), hint=hint, pointer=f"/{name}", value=text
        ) from None
