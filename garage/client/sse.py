"""Reading server-sent events (WHATWG HTML, 9.2.6), as far as the garage sends them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Message:
    """One event; kind "" only carries the number that resumes from here."""

    id: str
    kind: str
    data: dict[str, Any]


def parse(lines: Iterable[str]) -> Iterator[Message]:
    """Events out of lines without their ends; comments and unknown fields are skipped."""
    fields: dict[str, str] = {}
    last_id = ""
    for line in lines:
        if line:
            key, _, value = line.partition(":")
            fields[key] = value.removeprefix(" ")
            continue
        last_id = fields.get("id", last_id)
        if fields:
            yield Message(last_id, fields.get("event", ""), json.loads(fields.get("data") or "{}"))
        fields = {}
