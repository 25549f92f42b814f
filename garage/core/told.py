"""Plain text that people write for people: bounded, and nothing in it that hides or turns other text. Pure."""

from __future__ import annotations

import re

from garage.errors import N_, GarageError

HIDDEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff]")
"""Control characters but the line's end, and Unicode's overrides of direction (UTR 36)."""


def check_text(text: str, most: int, *, field: str) -> str:
    """Without blanks around it and with LF alone as the end of a line; raises `invalid_field` for an empty one, one that is longer than
    `most` characters, and one with characters that are not seen."""
    plain = text.replace("\r\n", "\n").strip()
    if not plain:
        raise _bad(N_("{field} is empty"), N_("write both languages"), field, most)
    if len(plain) > most:
        raise _bad(N_("{field} is too long"), N_("it may have {limit} characters"), field, most)
    if HIDDEN.search(plain):
        raise _bad(N_("{field} holds characters that cannot be typed"), N_("leave control characters out"), field, most)
    return plain


def _bad(text: str, hint: str, field: str, most: int) -> GarageError:
    return GarageError("invalid_field", text, hint=hint, pointer=f"/{field}", field=field, limit=most)
