"""WCAG 2.2 AA of the tokens in both themes: every pair that the pages use."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TOKENS = (Path(__file__).parents[2] / "web/static/css/tokens.css").read_text()
STATES = ("ready", "working", "waiting", "stopped", "failed", "unreachable")
GROUNDS = ("bg", "surface", "sunken", "hover")
TEXT = [(ink, ground) for ink in ("ink", "muted", "link") for ground in GROUNDS]
TEXT += [(state, ground) for state in STATES for ground in ("bg", "surface")]
TEXT += [("ink", f"{state}-soft") for state in ("ready", "waiting", "failed", "unreachable")]
TEXT += [("link", "waiting-soft"), ("muted", "ready-soft"), ("failed", "failed-soft"), ("failed", "hover")]
TEXT += [("on-primary", "primary"), ("surface", "failed")]
"""1.4.3: at least 4.5 to 1."""
SHAPES = [("edge", "surface"), ("edge", "bg"), ("focus", "surface"), ("focus", "bg"), ("strip", "strip-track")]
SHAPES += [("strip", "surface"), ("waiting", "strip-track"), ("failed", "strip-track"), ("ink", "sunken")]
"""1.4.11: at least 3 to 1."""
HEAD = [("on-head", "head"), ("head-muted", "head"), ("tape", "head"), ("on-tape", "tape")]


def colours(theme: str) -> dict[str, str]:
    """The tokens of a theme, with those that both share."""
    blocks = re.findall(r"(:root[^{]*)\{([^{}]*)\}", TOKENS)
    wanted = [body for selector, body in blocks if f'"{theme}"' in selector or selector.strip() == ":root"]
    return dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", " ".join(wanted)))


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2's definition."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark", "auto"])
@pytest.mark.parametrize(("pairs", "least"), [(TEXT, 4.5), (SHAPES, 3.0), (HEAD, 4.5)], ids=["text", "shapes", "head"])
def test_contrast(theme: str, pairs: list[tuple[str, str]], least: float) -> None:
    table = colours(theme)
    weak = {pair: round(ratio, 2) for pair in pairs if (ratio := contrast(table[pair[0]], table[pair[1]])) < least}
    assert not weak


def test_auto_in_the_dark_is_dark() -> None:
    assert colours("auto") == colours("dark")
