"""An audit entry as a line of syslog (RFC 5424)."""

from __future__ import annotations

import json
from typing import Any

PRIORITY = 13 * 8 + 5
"""Facility 13 (log audit), severity 5 (notice): section 6.2.1."""
SD_ID = "audit@32473"
"""32473 is the number for examples (RFC 5612): a garage has no enterprise number of its own."""
FIELDS = ("id", "number", "hash", "actor", "action", "project", "subject")


def line(item: dict[str, Any], host: str) -> str:
    """Without a line end. `item` is of `GET /api/v1/audit`, `host` the controller's name."""
    values = {name: str(item[name]) for name in FIELDS if item[name] is not None}
    if item["detail"]:
        values["detail"] = json.dumps(item["detail"], ensure_ascii=False, sort_keys=True)
    data = " ".join(f'{name}="{param(value)}"' for name, value in values.items())
    said = one_line(f"{item['actor']} {item['action']} {item['subject']}")
    return f"<{PRIORITY}>1 {item['at']} {header(host, 255)} garage - {header(item['action'], 32)} [{SD_ID} {data}] \ufeff{said}"


def header(text: str, limit: int) -> str:
    """A field of the header: printable ASCII without blanks, "-" for nothing (section 6)."""
    return "".join(c if "!" <= c <= "~" else "?" for c in text)[:limit] or "-"


def param(value: str) -> str:
    """A PARAM-VALUE: a backslash before ", \\ and ] (section 6.3.3)."""
    return one_line(value.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]"))


def one_line(text: str) -> str:
    """Control characters as #ooo, in octal (section 8.2 lets an application change them): a line end would begin another message."""
    return "".join(c if c.isprintable() or c == " " else _octal(c) for c in text)


def _octal(character: str) -> str:
    return "".join(f"#{byte:03o}" for byte in character.encode("utf-8", "replace"))
