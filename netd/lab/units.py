"""Quantities as people write them: `10ms`, `0.5%`, `100Mb/s`. Errors are ValueErrors that show the right form."""

from __future__ import annotations

import math
import re

NUMBER = r"([0-9]{1,12}(?:\.[0-9]{1,9})?)"
TIMES = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
RATES = {"b/s": 1.0, "kb/s": 1e3, "mb/s": 1e6, "gb/s": 1e9, "bit": 1.0, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9}
MAX_DELAY = 60.0


def seconds(text: object) -> float:
    """`10ms`, `0.5s`, `200us`; at most a minute."""
    value = _scaled(text, TIMES, "a time such as 10ms or 0.5s")
    if value > MAX_DELAY:
        raise ValueError(f"{text!r} is longer than {MAX_DELAY:.0f}s")
    return value


def share(text: object) -> float:
    """`1%`, `0.1%`, `100%` as a share of 1; a bare number would be read by one person as 1 and by another as 1%."""
    value = _scaled(text, {"%": 0.01}, "a share such as 1% or 100%")
    if value > 1:
        raise ValueError(f"{text!r} is more than 100%")
    return value


def bits_per_second(text: object) -> float:
    """`100Mb/s`, `1.5Mbit`, `64kb/s`."""
    value = _scaled(text, RATES, "a rate such as 100Mb/s or 64kb/s")
    if value < 1e3:
        raise ValueError(f"{text!r} passes hardly a packet: write at least 1kb/s")
    return value


def show_seconds(value: float) -> str:
    return f"{value * 1000:g}ms"


def show_share(value: float) -> str:
    return f"{value * 100:g}%"


def show_rate(value: float) -> str:
    if not value:
        return "-"
    unit = max(
        (unit for unit in ("kb/s", "mb/s", "gb/s") if value >= RATES[unit]), key=RATES.__getitem__, default="b/s"
    )
    return f"{value / RATES[unit]:g}{unit.replace('m', 'M').replace('g', 'G')}"


def _scaled(text: object, units: dict[str, float], wanted: str) -> float:
    found = re.fullmatch(rf"{NUMBER} ?({'|'.join(map(re.escape, units))})", str(text).strip(), re.IGNORECASE | re.ASCII)
    if str(text).strip() == "0" and not isinstance(text, bool):
        return 0.0
    if not found or isinstance(text, bool):
        raise ValueError(f"{text!r} is not {wanted}")
    value = float(found[1]) * units[found[2].lower()]
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not {wanted}")
    return value
