"""Operations that will be gone one day: told in the document, and in the headers of every answer (RFC 9745, RFC 8594)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from flask import Response, request
from werkzeug.http import http_date

LEAST = timedelta(days=183)
"""Six months (docs/api.md)."""


@dataclass(frozen=True, slots=True)
class Going:
    """Since when nobody should begin to use it, and from when on it may be gone."""

    since: datetime
    until: datetime

    def __post_init__(self) -> None:
        if self.until - self.since < LEAST:
            raise ValueError("what is to go stays for six months")


GOING: dict[tuple[str, str], Going] = {}
"""By method and path as in the document, e.g. ("GET", "/api/v1/machines/{ref}")."""


def stamp(response: Response) -> Response:
    """After each request."""
    if GOING and request.url_rule and (going := GOING.get((request.method, _path(request.url_rule.rule)))):
        response.headers["Deprecation"] = f"@{going.since.astimezone(UTC).timestamp():.0f}"
        response.headers["Sunset"] = http_date(going.until)
    return response


def _path(rule: str) -> str:
    return re.sub(r"<(?:[^:<>]+:)?(\w+)>", r"{\1}", rule)
