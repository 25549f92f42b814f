"""The map of sites and links as figures for an SVG: where each site stands, how each link is drawn; pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 760, 430
MARGIN_X, MARGIN_Y = 110, 48
INNER = 0.42
"""Share of the radius at which hubs stand when there are many sites."""
RING = 10
"""Up to this many sites stand on one ring, hubs among them."""
LOSSY, BAD = 0.01, 0.05
"""Shares of lost probes from which a link is shown as lossy, as bad: speech suffers from 1 % and TCP hardly moves at 5 % (Mathis,
1997: throughput falls with the square root of loss)."""


@dataclass(frozen=True, slots=True)
class Spot:
    """A site on the map."""

    name: str
    x: float
    y: float
    anchor: str
    """Where its name stands: "start", "middle" or "end" of the text is at the spot."""
    state: str
    hub: bool


@dataclass(frozen=True, slots=True)
class Stroke:
    """A link on the map."""

    a: str
    b: str
    x1: float
    y1: float
    x2: float
    y2: float
    state: str
    """ "up", "lossy", "bad", "down", "waiting", "draining"."""
    width: float
    rtt_ms: float | None
    loss: float | None


@dataclass(frozen=True, slots=True)
class Tie:
    """What a stroke is made of; `rate` in bits per second."""

    a: str
    b: str
    state: str
    rtt_ms: float | None = None
    loss: float | None = None
    rate: float = 0.0


def spots(names: Sequence[str], hubs: Collection[str], states: Mapping[str, str]) -> list[Spot]:
    """Sites on a ring in the order of their names, hubs of a large overlay on an inner one: the same sites always stand the same."""
    ordered = sorted(names)
    inner = [name for name in ordered if name in hubs] if len(ordered) > RING else []
    outer = [name for name in ordered if name not in inner]
    rings = ((outer, 1.0), (inner, INNER))
    return [
        _spot(name, index, len(ring), share, name in hubs, states.get(name, "unknown"))
        for ring, share in rings
        for index, name in enumerate(ring)
    ]


def _spot(name: str, index: int, count: int, share: float, hub: bool, state: str) -> Spot:
    """The first at the top left of the ring, so that two sites lie side by side and not one above the other."""
    alone = count == 1 and share == 1.0
    angle = math.pi + 2 * math.pi * index / count
    x = WIDTH / 2 + (0 if alone else math.cos(angle) * share * (WIDTH / 2 - MARGIN_X))
    y = HEIGHT / 2 + (0 if alone else math.sin(angle) * share * (HEIGHT / 2 - MARGIN_Y))
    side = math.cos(angle)
    anchor = "middle" if alone or abs(side) < 0.35 else ("start" if side > 0 else "end")
    return Spot(name, round(x, 1), round(y, 1), anchor, state, hub)


def strokes(ties: Sequence[Tie], places: Sequence[Spot]) -> list[Stroke]:
    """Thickness says throughput (a step per factor of ten), the state says loss; those in trouble are drawn last, on top."""
    at = {spot.name: spot for spot in places}
    found = [
        Stroke(
            tie.a,
            tie.b,
            at[tie.a].x,
            at[tie.a].y,
            at[tie.b].x,
            at[tie.b].y,
            _look(tie),
            _width(tie.rate),
            tie.rtt_ms,
            tie.loss,
        )
        for tie in ties
        if tie.a in at and tie.b in at and tie.a != tie.b
    ]
    order = ("draining", "up", "waiting", "lossy", "bad", "down")
    return sorted(found, key=lambda stroke: (order.index(stroke.state), stroke.a, stroke.b))


def _look(tie: Tie) -> str:
    if tie.state != "up" or tie.loss is None or tie.loss < LOSSY:
        return tie.state
    return "bad" if tie.loss >= BAD else "lossy"


def _width(rate: float) -> float:
    """1.5 for an idle link to 6 for a gigabit per second."""
    if rate < 1e4:
        return 1.5
    return round(min(6.0, 1.5 + 0.9 * (math.log10(rate) - 4)), 1)


def sparkline(values: Sequence[float | None], width: float = 96, height: float = 20) -> str:
    """Points of an SVG polyline per run of values, as a path ("M… L…"); gaps stay gaps. The scale begins at zero."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    top, step = max(known) or 1.0, width / max(1, len(values) - 1)
    path, pen = [], "M"
    for index, value in enumerate(values):
        if value is None:
            pen = "M"
            continue
        path.append(f"{pen}{index * step:.1f} {height - 1 - value / top * (height - 2):.1f}")
        pen = "L"
    return " ".join(path)


def shade(rtt_ms: float | None) -> str:
    """A class of the grid's cells: how far away a site is. 10 ms is a neighbouring prefecture, 40 ms the other end of Japan, 150 ms
    across the Pacific."""
    if rtt_ms is None:
        return "none"
    return next((name for limit, name in ((10, "near"), (40, "mid"), (150, "far")) if rtt_ms < limit), "remote")
