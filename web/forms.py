"""Reading what a browser sent: bounded, printable, or refused with a hint before any service sees it."""

from __future__ import annotations

import re

from flask import request

from garage.errors import N_, GarageError
from garage.services.passkeys import Answer

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def text(name: str, *, limit: int = 64, default: str = "") -> str:
    """A form field without surrounding blanks."""
    return _checked(name, request.form.get(name, default).strip(), limit)


def secret(name: str, *, limit: int = 1024) -> str:
    """A password, exactly as typed."""
    return _checked(name, request.form.get(name, ""), limit)


def lines(name: str, *, limit: int = 65_536) -> str:
    """A text area. Browsers send CRLF (HTML standard, form submission); scripts and YAML want LF."""
    return _checked(name, request.form.get(name, "").replace("\r\n", "\n"), limit)


LONGEST_KEY = 16_384
"""Characters of what a key says: an attestation may bring certificates along."""


def key_answer() -> Answer | None:
    """What a security key said to the form's question; None where a code was typed."""
    said = text("answer", limit=LONGEST_KEY)
    return Answer(text("sealed", limit=2000), said) if said else None


def number(name: str) -> float | None:
    """A number, None where the field is empty."""
    value = text(name, limit=32)
    try:
        found = float(value) if value else None
    except ValueError:
        found = float("nan")
    if found is not None and not abs(found) < 1e12:
        raise GarageError("invalid_field", N_("{field} must be a number"), pointer=f"/{name}", field=name)
    return found


def query(name: str, *, limit: int = 64, pattern: str = "") -> str:
    """A value of the address bar, which must match `pattern` where one is given."""
    value = _checked(name, request.args.get(name, "").strip(), limit)
    if value and pattern and not re.fullmatch(pattern, value):
        raise GarageError(
            "invalid_field",
            N_("{field} cannot be “{value}”"),
            hint=N_("go back to the list and choose again"),
            pointer=f"/{name}",
            field=name,
            value=value,
        )
    return value


def reference(value: str) -> str:
    """A name or id out of a path; anything that cannot be one does not exist."""
    if len(value) > 80 or _CONTROL.search(value):
        raise GarageError("not_found", N_("there is nothing at this address"))
    return value


def _checked(name: str, value: str, limit: int) -> str:
    if len(value) > limit:
        raise GarageError(
            "invalid_field",
            N_("{field} is longer than {limit} characters"),
            pointer=f"/{name}",
            field=name,
            limit=limit,
        )
    if _CONTROL.search(value):
        raise GarageError(
            "invalid_field",
            N_("{field} holds characters that cannot be typed"),
            hint=N_("type it instead of pasting it"),
            pointer=f"/{name}",
            field=name,
        )
    return value
