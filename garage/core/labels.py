"""Labels of nodes, and what machines ask of them: KEY=VALUE."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from garage.core import names
from garage.errors import N_, GarageError

KEY = re.compile(r"[a-z]([a-z0-9._-]{0,30}[a-z0-9])?")
VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,46}[A-Za-z0-9])?")
MOST = 16
"""Labels of one node or machine."""


def check(labels: Mapping[str, object], *, removing: bool = False, pointer: str = "/labels") -> dict[str, str]:
    """`labels` if all can be; an empty value is taken only where it removes one. Raises `invalid_field`."""
    if len(labels) > MOST:
        raise GarageError(
            "invalid_field",
            N_("at most {limit} labels are possible"),
            hint=N_("remove one with KEY="), pointer=pointer, limit=MOST,
        )  # fmt: skip
    found = {}
    for key, value in labels.items():
        if (
            not isinstance(value, str)
            or not KEY.fullmatch(key)
            or not (VALUE.fullmatch(value) or (removing and not value))
        ):
            raise _bad(f"{key}={value}", pointer)
        found[key] = value
    return found


def parse(texts: Iterable[str], *, pointer: str = "/labels") -> dict[str, str]:
    """ "KEY=VALUE" texts as labels."""
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise _bad(text, pointer)
        found[key] = value
    return check(found, pointer=pointer)


def _bad(label: str, pointer: str) -> GarageError:
    return GarageError(
        "invalid_field",
        N_("“{label}” cannot be a label"),
        hint=N_("a label is KEY=VALUE in letters, digits, dots and hyphens, e.g. gpu=rtx3090"),
        pointer=pointer,
        label=label[:80],
    )


def check_apart(word: str) -> str:
    """A word that keeps machines apart is written like a name; empty is none."""
    return names.check_label(word, field="apart") if word else ""
