"""Sites on the map by their coordinates: a plain projection into the picture, then pushed apart until none hides another; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

At = tuple[float, float]
"""(latitude, longitude) in degrees, or (x, y) in percent of the picture."""
ROUNDS = 200
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


def _pushed(found: list[At], margins: At, aspect: float, apart: float) -> list[At]:
    """Each pair that stands too close moves apart by half of what lacks, along its line; sites at one place along an angle of their own."""
    points = list(found)
    for _ in range(ROUNDS):
        moved = False
        for i in range(len(points)):
            for j in range(i):
                moved = _push(points, i, j, aspect, apart) or moved
        points = [_inside(point, margins) for point in points]
        if not moved:
            break
    return [(round(x, 2), round(y, 2)) for x, y in points]


def _push(points: list[At], i: int, j: int, aspect: float, apart: float) -> bool:
    dx, dy = points[i][0] - points[j][0], (points[i][1] - points[j][1]) / aspect
    far = math.hypot(dx, dy)
    if far >= apart - 1e-6:
        return False
    angle = math.atan2(dy, dx) if far > 1e-9 else 2.4 * i  # the golden angle: no two the same
    step_x, step_y = math.cos(angle) * (apart - far) / 2, math.sin(angle) * (apart - far) / 2 * aspect
    points[i] = points[i][0] + step_x, points[i][1] + step_y
    points[j] = points[j][0] - step_x, points[j][1] - step_y
    return True


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
