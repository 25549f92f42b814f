"""Recipes that ship with the garage, as one chooses among them; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from garage.core.recipe import base_of, parse_recipe


@dataclass(frozen=True, slots=True)
class Shipped:
    """One recipe: what it is called, its text, and that of the recipe on which it is laid (empty for none)."""

    name: str
    title: str
    text: str
    base: str


def shipped(texts: Mapping[str, str]) -> dict[str, Shipped]:
    """By the names of their images, in the order of those; `texts` by the names of files without ".toml". Raises `invalid_field`."""
    found = [_read(text, texts) for text in texts.values()]
    return {one.name: one for one in sorted(found, key=lambda one: one.name)}


def _read(text: str, texts: Mapping[str, str]) -> Shipped:
    base = texts.get(base_of(text), "")
    recipe = parse_recipe(text, base)
    return Shipped(recipe.name, recipe.title, text, base)
