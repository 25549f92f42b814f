"""Where the recipes are that ship with the garage: in its wheel, or in the checkout from which it runs."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parents[1]
PLACES = (PACKAGE / "recipes", PACKAGE.parent / "images")
"""Set-up puts them into the first when it makes the wheel."""


def texts() -> dict[str, str]:
    """By the names of files without ".toml"; empty where there are none."""
    place = next((place for place in PLACES if place.is_dir()), None)
    return {path.stem: path.read_text() for path in sorted(place.glob("*.toml"))} if place else {}
