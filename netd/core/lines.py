"""A site's lines as netd.toml names them: `[[line]]` tables; pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from netd.core.volume import GIB

MOST = 8
"""Uplinks of a server."""
FASTEST_MBIT = 100_000


@dataclass(frozen=True, slots=True)
class Line:
    """An uplink of the server. `device` "": the one that the default route takes; 0: no cap, no known rate."""

    device: str = ""
    volume_gib: float = 0.0
    """What the overlay may carry over it in a calendar month (UTC), both directions together."""
    rate_mbit: float = 0.0
    """What it sends at most: its upstream in Mb/s."""

    @property
    def name(self) -> str:
        return self.device or "uplink"

    @property
    def cap(self) -> int:
        """Bytes a month."""
        return round(self.volume_gib * GIB)


def parse_lines(value: object) -> tuple[Line, ...]:
    """The value of `line`; raises TypeError with what is wrong."""
    if not isinstance(value, list) or len(value) > MOST:
        raise TypeError(f"[[line]] is a list of at most {MOST} tables")
    lines = tuple(_line(row) for row in value)
    devices = [line.device for line in lines]
    if len(set(devices)) < len(devices) or (len(devices) > 1 and "" in devices):
        raise TypeError("each [[line]] needs a device of its own, where there are several")
    return lines


def _line(row: Any) -> Line:
    known = {field.name for field in fields(Line)}
    if not isinstance(row, Mapping) or set(row) - known:
        raise TypeError(f"[[line]] knows {', '.join(sorted(known))}")
    device = row.get("device", "")
    if not isinstance(device, str) or len(device) > 15 or any(c.isspace() or c in '/"' for c in device):
        raise TypeError("device in [[line]] is no interface's name")
    return Line(device, _number(row, "volume_gib", 1e9), _number(row, "rate_mbit", FASTEST_MBIT))


def _number(row: Mapping[str, Any], key: str, most: float) -> float:
    value = row.get(key, 0)
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not math.isfinite(value)
        or not 0 <= value <= most
    ):
        raise TypeError(f"{key} in [[line]] is a number of 0 to {most:g}")
    return float(value)


def line_of(device: str | None, lines: Iterable[Line]) -> Line | None:
    """The line that leads over `device`; one without a device is the only one, and all leads over it."""
    return next((line for line in lines if line.device in ("", device)), None)
