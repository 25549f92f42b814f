"""Sites on the map by their coordinates: a plain projection into the picture, then pushed apart until none hides another; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

At = tuple[float, float]
"""(latitude, longitude) in degrees, or (x, y) in percent of the picture."""
ROUNDS = 200
ENOUGH = 0.02
"""Percent that may lack."""
STRETCH = 2.0
"""How much wider (or higher) than it is a country may be drawn to use the picture."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Sizes of what is written, in percent of the picture's width and height."""

    letter: float
    beside: float
    """How far beside its site a name begins."""
    line: float
    sign: At
    """How far a site's sign reaches to the sides, and up and down."""


WIDE = Scale(0.72, 1.8, 4.4, (1.4, 3.2))
"""Of a picture of 1100 by 416 pixels."""
NARROW = Scale(2.3, 5.2, 4.8, (3.4, 3.4))
"""Of a phone's, 350 by 384."""


def placed(at: Sequence[At], margins: At, aspect: float, apart: float) -> list[At]:
    """(x, y) of each, within `margins` of the picture's edges. North is up; the picture is `aspect` times as wide as high; two sites
    stand at least `apart` percent of the width from each other where there is room."""
    wide, high = 100 - 2 * margins[0], 100 - 2 * margins[1]
    flat = _flat(at)
    across, down = max(x for x, _ in flat) / wide, max(y for _, y in flat) / (high / aspect)
    spread = max(across, down, 1e-9)
    across, down = max(across, spread / STRETCH), max(down, spread / STRETCH)
    middle = max(x for x, _ in flat) / 2, max(y for _, y in flat) / 2
    found = [(50 + (x - middle[0]) / across, 50 + (y - middle[1]) / down * aspect) for x, y in flat]
    return _pushed(found, margins, aspect, apart)


def _flat(at: Sequence[At]) -> list[At]:
    """Degrees of a circle through the middle latitude, from the west and north edges on. The west edge is where the widest gap of
    longitudes ends, so that sites on both sides of the Pacific stand together."""
    longitudes = sorted({longitude % 360 for _, longitude in at})
    gaps = [(longitudes[i] - longitudes[i - 1]) % 360 or 360 for i in range(len(longitudes))]
    west = longitudes[gaps.index(max(gaps))]
    north, south = max(latitude for latitude, _ in at), min(latitude for latitude, _ in at)
    narrow = max(0.2, math.cos(math.radians((north + south) / 2)))
    return [(((longitude - west) % 360) * narrow, north - latitude) for latitude, longitude in at]


def _pushed(found: Sequence[At], margins: At, aspect: float, apart: float) -> list[At]:
    """Each pair that stands too close moves apart along its line. All move at once and a little, round after round: one after the other,
    a town among three would jump over its neighbour, and north would be south."""
    points = list(found)
    for _ in range(ROUNDS):
        moves = [(0.0, 0.0)] * len(points)
        for i in range(len(points)):
            for j in range(i):
                _push(points, moves, i, j, aspect, apart)
        if not any(x or y for x, y in moves):
            break
        points = [_inside((x + dx, y + dy), margins) for (x, y), (dx, dy) in zip(points, moves, strict=True)]
    return [(round(x, 2), round(y, 2)) for x, y in points]


def _push(points: Sequence[At], moves: list[At], i: int, j: int, aspect: float, apart: float) -> None:
    """Half of what lacks; sites at one place go along an angle of their own."""
    dx, dy = points[i][0] - points[j][0], (points[i][1] - points[j][1]) / aspect
    far = math.hypot(dx, dy)
    if far >= apart - ENOUGH:
        return
    angle = math.atan2(dy, dx) if far > 1e-9 else 2.4 * i  # the golden angle: no two the same
    x, y = math.cos(angle) * (apart - far) / 4, math.sin(angle) * (apart - far) / 4 * aspect
    moves[i] = moves[i][0] + x, moves[i][1] + y
    moves[j] = moves[j][0] - x, moves[j][1] - y


def _inside(point: At, margins: At) -> At:
    return (
        min(max(point[0], margins[0]), 100 - margins[0]),
        min(max(point[1], margins[1]), 100 - margins[1]),
    )


Box = tuple[float, float, float, float]
"""Left, top, right, bottom in percent."""


def sides(points: Sequence[At], names: Sequence[str], scale: Scale = WIDE) -> list[str]:
    """Where each name stands ("start" is to the right, "end" to the left, "above", "below") so that names hide neither each other nor
    sites, as far as one after the other can be put."""
    return [side for side, _ in _put(points, names, scale, spare=False)]


def spared(points: Sequence[At], names: Sequence[str], scale: Scale) -> list[str]:
    """The same, "" for each that would hide something: the first of those that do not fit together is written."""
    return ["" if cost else side for side, cost in _put(points, names, scale, spare=True)]


def _put(points: Sequence[At], names: Sequence[str], scale: Scale, *, spare: bool) -> list[tuple[str, int]]:
    reach_x, reach_y = scale.sign
    taken: list[Box] = [(x - reach_x, y - reach_y, x + reach_x, y + reach_y) for x, y in points]
    found = []
    for (x, y), name in zip(points, names, strict=True):
        possible = boxes((x, y), name, scale)
        first = ("end", "start") if x < 50 else ("start", "end")
        cost, side = min(
            ((_cost(possible[side], taken), side) for side in (*first, "above", "below")), key=lambda c: c[0]
        )
        if not (spare and cost):
            taken.append(possible[side])
        found.append((side, cost))
    return found


def boxes(at: At, name: str, scale: Scale = WIDE) -> dict[str, Box]:
    """What a name covers on each side of its site."""
    (x, y), width, line, reach = at, scale.letter * len(name), scale.line, scale.sign[1]
    return {
        "start": (x + scale.beside, y - line / 2, x + scale.beside + width, y + line / 2),
        "end": (x - scale.beside - width, y - line / 2, x - scale.beside, y + line / 2),
        "above": (x - width / 2, y - reach - line, x + width / 2, y - reach),
        "below": (x - width / 2, y + reach, x + width / 2, y + reach + line),
    }


def _cost(box: Box, taken: Sequence[Box]) -> int:
    return sum(overlap(box, other) for other in taken) + 3 * (box[0] < 1 or box[2] > 99)


def overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
