"""Sites on the map by their coordinates: a plain projection into the picture, then pushed apart until none hides another; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

At = tuple[float, float]
"""(latitude, longitude) in degrees, or (x, y) in percent of the picture."""
ROUNDS = 200


def placed(at: Sequence[At], margins: At, aspect: float, apart: float) -> list[At]:
    """(x, y) of each, within `margins` of the picture's edges. North is up; the picture is `aspect` times as wide as high; two sites
    stand at least `apart` percent of the width from each other where there is room."""
    wide, high = 100 - 2 * margins[0], 100 - 2 * margins[1]
    flat = _flat(at)
    spread = max(max(x for x, _ in flat) / wide, max(y for _, y in flat) / (high / aspect), 1e-9)
    middle = max(x for x, _ in flat) / 2, max(y for _, y in flat) / 2
    found = [(50 + (x - middle[0]) / spread, 50 + (y - middle[1]) / spread * aspect) for x, y in flat]
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
