"""Every text of the client has a Japanese one, with the same fields, and no Japanese text is left over."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from garage.client import words
from garage.client.ja import WORDS
from garage.core.states import State

ROOT = Path(__file__).parents[2] / "garage"
COMMAND = re.compile(r"(garage|ssh-keygen) [a-zA-Z0-9{}:/. \-\[\]]+")
"""A hint that is a command to type is the same in every language."""


def texts() -> Iterator[str]:
    for path in [*(ROOT / "client").rglob("*.py"), ROOT / "cli.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            yield from _texts_of(node)
    yield from (*words.STATES.values(), *words.STEPS.values(), "owner", "member", "admin")
    yield from (words.STATES.get(state, state.value) for state in State)


def _texts_of(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
        given = {
            "_": node.args[:1],
            "N_": node.args[:1],
            "local_error": [*node.args[1:2], *(k.value for k in node.keywords if k.arg == "hint")],
        }
        yield from (value.value for value in given.get(node.func.id, []) if isinstance(value, ast.Constant))
    if (
        isinstance(node, ast.Assign)
        and getattr(node.targets[0], "id", "") == "hint"
        and isinstance(node.value, ast.Constant)
    ):
        yield node.value.value


def test_the_catalogue_is_complete_and_has_nothing_else() -> None:
    used = {text for text in texts() if text and not COMMAND.fullmatch(text)}
    assert used - set(WORDS) == set()
    assert set(WORDS) - used == set()


def test_fields_are_the_same() -> None:
    for english, japanese in WORDS.items():
        assert set(re.findall(r"\{\w+\}", english)) == set(re.findall(r"\{\w+\}", japanese)), english


def test_the_language_is_posixs() -> None:
    assert words.language({"LANG": "ja_JP.UTF-8"}) == "ja"
    assert words.language({"LANG": "ja_JP.UTF-8", "LC_ALL": "C"}) == "en"
    assert words.language({}) == "en"
