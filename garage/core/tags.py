"""What people write on their machines: tags, by which they find them again, and notes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from garage.errors import N_, GarageError

TAG = re.compile(r"[a-z0-9]([a-z0-9._-]{0,30}[a-z0-9])?")
MOST = 16
"""Tags of one machine."""
MAX_NOTES = 2000
"""Characters."""


def check(tags: Iterable[str], *, pointer: str = "/tags") -> list[str]:
    """`tags` in order and each once, if all can be; raises `invalid_field`."""
    found = sorted(set(tags))
    for tag in found:
        if not TAG.fullmatch(tag):
            raise GarageError(
                "invalid_field",
                N_("“{tag}” cannot be a tag"),
                hint=N_("a tag is a word of up to 32 lower-case letters, digits, dots and hyphens, e.g. course-2026"),
                pointer=pointer,
                tag=tag[:64],
            )
    if len(found) > MOST:
        raise GarageError(
            "invalid_field",
            N_("a machine has at most {limit} tags"),
            hint=N_("remove one"),
            pointer=pointer,
            limit=MOST,
        )
    return found


def check_notes(notes: str, *, pointer: str = "/notes") -> str:
    """Text of some lines, without what would change how a terminal or a page shows the rest; raises `invalid_field`."""
    text = notes.strip()
    odd = any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") and char not in "\n\t" for char in text)
    if odd or len(text) > MAX_NOTES:
        raise GarageError(
            "invalid_field",
            N_("these notes cannot be kept"),
            hint=N_("they are plain text of up to {limit} characters"),
            pointer=pointer,
            limit=MAX_NOTES,
        )
    return text
