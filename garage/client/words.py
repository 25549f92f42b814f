"""The client's own texts in the user's language; what the controller says comes translated already."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache


def language(environ: Mapping[str, str]) -> str:
    """ "ja" or "en", by the first of LC_ALL, LC_MESSAGES and LANG that is set (POSIX)."""
    chosen = next((environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environ.get(name)), "")
    return "ja" if chosen.lower().startswith("ja") else "en"


@cache
def _catalogue() -> dict[str, str]:
    if language(os.environ) != "ja":
        return {}
    from garage.client.ja import WORDS

    return WORDS


def _(text: str) -> str:
    """`text` in the user's language, or as it is."""
    return _catalogue().get(text, text)


def N_(text: str) -> str:
    """Marks a text that is translated later."""
    return text


STATES: dict[str, str] = {
    "requested": "waiting",
    "deleting": "deleting",
    "gone": "deleted",
}
"""States whose word is not their name; the same words as on the pages."""

STEPS: dict[str, str] = {
    "network": "network",
    "image": "copying the image to the node",
    "disk": "disk",
    "seed": "disk",
    "starting": "starting",
    "identity": "name and keys",
    "waiting_ssh": "waiting for SSH",
}


def state_word(state: str, step: str = "") -> str:
    """A state for people, with the step inside of it: "preparing (disk)", "preparing (… 45 %)"."""
    word = _(STATES.get(state, state))
    name, _space, figure = step.partition(" ")
    shown = f"{_(STEPS.get(name, name))} {figure} %" if figure.isdigit() else _(STEPS.get(step, step))
    return f"{word} ({shown})" if step and step != state else word
