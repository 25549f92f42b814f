"""Long lists by name: what the address bar asks of one, and how much of it a page shows."""

from __future__ import annotations

from typing import TypedDict

from web import forms

PAGE = 50
"""Rows (or tiles) of a page."""


class Asked(TypedDict):
    search: str
    cursor: str


def asked(cursor: str = "") -> Asked:
    """Part of a name, and the name behind which the page begins (or what else matches `cursor`); empty for none."""
    return {
        "search": forms.query("search"),
        "cursor": forms.query("cursor", limit=96 if cursor else 64, pattern=cursor),
    }
