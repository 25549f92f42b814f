"""Sites on the map by their coordinates: a plain projection into the picture, then pushed apart until none hides another; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

At = tuple[float, float]
"""(latitude, longitude) in degrees, or (x, y) in percent of the picture."""
ROUNDS = 200
ENOUGH = 0.02
"""Percent that may lack."""
STRETCH = 2.0
"""How much wider (or higher) than it is a country may be drawn to use the picture."""
LETTER, BESIDE = 0.72, 1.8
"""Percent of a picture of 1100 pixels: a letter's width, and how far beside its site a name begins."""
LINE, SIGN = 4.4, (1.4, 3.2)
"""Percent: the height of a line of text; how far a site's sign reaches to the sides, and up and down."""


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


def sides(points: Sequence[At], names: Sequence[str]) -> list[str]:
    """Where each name stands ("start" is to the right, "end" to the left, "above", "below") so that names hide neither each other nor
    sites, as far as one after the other can be put."""
    taken: list[Box] = [(x - SIGN[0], y - SIGN[1], x + SIGN[0], y + SIGN[1]) for x, y in points]
    found = []
    for (x, y), name in zip(points, names, strict=True):
        boxes = _boxes(x, y, LETTER * len(name))
        first = ("end", "start") if x < 50 else ("start", "end")
        side = min((*first, "above", "below"), key=lambda side: _cost(boxes[side], taken))
        taken.append(boxes[side])
        found.append(side)
    return found


def _boxes(x: float, y: float, width: float) -> dict[str, Box]:
    above, below = y - SIGN[1] - LINE, y + SIGN[1]
    return {
        "start": (x + BESIDE, y - LINE / 2, x + BESIDE + width, y + LINE / 2),
        "end": (x - BESIDE - width, y - LINE / 2, x - BESIDE, y + LINE / 2),
        "above": (x - width / 2, above, x + width / 2, above + LINE),
        "below": (x - width / 2, below, x + width / 2, below + LINE),
    }


def _cost(box: Box, taken: Sequence[Box]) -> int:
    hidden = sum(
        box[0] < right and left < box[2] and box[1] < bottom and top < box[3] for left, top, right, bottom in taken
    )
    return hidden + 3 * (box[0] < 1 or box[2] > 99)
