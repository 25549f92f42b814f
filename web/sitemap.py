"""The map of sites and links as figures for an SVG: where each site stands, how each link is drawn; pure.

Places are percentages of the picture's width and height, so that the map stretches with its window while its words keep their size.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from web import geo

RING = 10
"""Up to this many sites stand on one ring, hubs among them."""
WORDED = 16
"""Up to this many sites have their names written level; more have them written outwards, like spokes."""
NAMED = 48
"""Of more sites, only hubs and those in trouble are named."""
OUTER = 64
"""Sites on one outer ring; more stand on several, one within the other."""
INNER = 0.36
"""Share of the radius at which hubs stand when there are many sites."""
ASPECT = 2.2
"""Width by height that sites are spread evenly for; on a narrower picture they still do not touch."""
MARGIN_X, MARGIN_Y = 15.0, 14.0
APART = 6.0
"""Percent of the width that two sites with coordinates stand apart at least, where there is room."""
MARKS, CLEAR = (0.38, 0.5, 0.62, 0.44, 0.56, 0.26, 0.74, 0.32, 0.68), 3.0
"""Shares of a link's way at which its trouble may be marked, and how far (percent of the width) from sites."""
BESIDE = (0.0, 4.0, -4.0)
"""How far beneath its line a mark may stand where there is no room on it; percent of the height."""
MARK = 1.9, 2.2
"""How far a mark reaches to the sides, and up and down; percent."""
LABEL = 15
"""Letters of a name on the map; the whole name is told with the figures."""
LOSSY, BAD = 0.01, 0.05
"""Shares of lost probes from which a link is shown as lossy, as bad: speech suffers from 1 % and TCP hardly moves at 5 % (Mathis,
1997: throughput falls with the square root of loss)."""
TROUBLE = frozenset({"lossy", "bad", "down"})
ORDER = ("draining", "up", "waiting", "lossy", "bad", "down")
"""What is drawn later lies on top."""


@dataclass(frozen=True, slots=True)
class Place:
    """A site as the map knows it."""

    name: str
    state: str
    hub: bool = False
    own: bool = False
    accused: bool = False
    """It announces what is not its own."""
    at: tuple[float, float] | None = None
    """Latitude and longitude, where somebody has said them."""
    volume: str = ""
    """How near one of its lines is to its monthly volume: "", warn, spare, stop."""

    @property
    def calm(self) -> bool:
        return self.state in ("up", "invited", "joining") and not self.accused and self.volume != "stop"


@dataclass(frozen=True, slots=True)
class Spot:
    """A site on the map; `x` and `y` in percent."""

    place: Place
    x: float
    y: float
    side: str
    """Where its name stands: "start" (to the right), "end" (to the left), "above" or "below"."""
    turn: float | None
    """Degrees by which its name is turned, None where all names are level."""
    label: str
    """Empty where there are too many to name all."""
    narrow: str | None = None
    """Where it stands on a phone: like `side`, "" where there is no room for it, None: below, or above, as its side is."""

    @property
    def written(self) -> geo.Box | None:
        """What its name covers, where that is level."""
        return geo.boxes((self.x, self.y), self.label)[self.side] if self.label and self.turn is None else None


@dataclass(frozen=True, slots=True)
class Tie:
    """What two sites have of each other: the links between their nodes as one. Times in ms, loss from 0 to 1, `rate` in bits per s."""

    a: str
    b: str
    state: str
    """ "up", "down", "waiting", "draining": the best of its links."""
    rtt_ms: float | None = None
    loss: float | None = None
    rate: float | None = None
    jitter_ms: float | None = None
    links: int = 1
    links_up: int = 1

    @property
    def look(self) -> str:
        return look(self.state, self.loss)


@dataclass(frozen=True, slots=True)
class Stroke:
    """A link on the map; places in percent, `width` in CSS pixels."""

    tie: Tie
    x1: float
    y1: float
    x2: float
    y2: float
    state: str
    width: float
    mark: tuple[float, float]
    """Where trouble is marked."""


def look(state: str, loss: float | None) -> str:
    """The state, or "lossy" or "bad" by what is lost (0 to 1)."""
    if state != "up" or loss is None or loss < LOSSY:
        return state
    return "bad" if loss >= BAD else "lossy"


def spots(places: Iterable[Place]) -> list[Spot]:
    """Where all members have coordinates (and two differ), these say where they stand; else they stand on a ring. The same sites always
    stand the same."""
    ordered = sorted(places, key=lambda place: place.name)
    members = [place for place in ordered if place.state != "invited"]
    if len({place.at for place in members}) > 1 and all(place.at for place in members):
        return _by_coordinates(members, [place for place in ordered if place.state == "invited"])
    return _rings(ordered)


def _by_coordinates(members: Sequence[Place], invited: Sequence[Place]) -> list[Spot]:
    """Those that were only invited wait at the right edge."""
    found = geo.placed([place.at for place in members if place.at], (MARGIN_X, MARGIN_Y), ASPECT, APART)
    waiting = [(96.0, MARGIN_Y + 9.0 * number) for number in range(len(invited))]
    everybody, points = (*members, *invited), (*found, *waiting)
    many = len(everybody) > NAMED
    labels = ["" if many and place.calm and not place.hub else _short(place.name) for place in everybody]
    rows = zip(
        everybody, points, geo.sides(points, labels), labels, _on_a_phone(everybody, points, labels), strict=True
    )
    return [Spot(place, x, y, side, None, label, narrow) for place, (x, y), side, label, narrow in rows]


def _on_a_phone(places: Sequence[Place], points: Sequence[geo.At], labels: Sequence[str]) -> list[str]:
    """Sides of names; of those that do not fit together, sites in trouble are named first, then hubs and our own."""
    order = sorted(
        range(len(places)),
        key=lambda i: (places[i].calm, not places[i].hub, not places[i].own, places[i].state == "invited"),
    )
    found = geo.spared([points[i] for i in order], [labels[i] for i in order], geo.NARROW)
    return [side for _, side in sorted(zip(order, found, strict=True))]


def _rings(ordered: Sequence[Place]) -> list[Spot]:
    """A ring in the order of names; hubs of a large overlay on an inner one."""
    inner = [place for place in ordered if place.hub] if len(ordered) > RING else []
    outer = [place for place in ordered if place not in inner]
    rounds = max(1, math.ceil(len(outer) / OUTER))
    rings = [(outer[number::rounds], 1.0 - 0.15 * number) for number in range(rounds)]
    return [
        _spot(place, angle, share, len(ordered))
        for ring, share in (*rings, (inner, INNER))
        for place, angle in zip(ring, _angles(len(ring), share), strict=True)
    ]


def _angles(count: int, share: float) -> list[float]:
    """Angles at equal distances along the ellipse, from its left end on; so that two sites lie side by side, not one above the other."""
    if count <= 2:
        return [math.pi + math.pi * index for index in range(count)]
    steps = 720
    points = [math.pi + 2 * math.pi * step / steps for step in range(steps + 1)]
    reach = [0.0]
    for before, after in itertools.pairwise(points):
        reach.append(
            reach[-1] + math.hypot(ASPECT * (math.cos(after) - math.cos(before)), math.sin(after) - math.sin(before))
        )
    shift = 0.5 if share not in (1.0, INNER) else 0.0
    wanted = [reach[-1] * (index + shift) / count for index in range(count)]
    return [points[next(step for step, far in enumerate(reach) if far >= goal - 1e-9)] for goal in wanted]


def _spot(place: Place, angle: float, share: float, count: int) -> Spot:
    alone = count == 1
    x = 50.0 + (0 if alone else math.cos(angle) * share * (50 - MARGIN_X))
    y = 50.0 + (0 if alone else math.sin(angle) * share * (50 - MARGIN_Y))
    named = count <= NAMED or place.hub or not place.calm
    spoken = WORDED < count <= NAMED and share == 1.0
    right, level = math.cos(angle) > 0, abs(math.cos(angle)) > 0.35 or spoken
    side = "below" if alone or share == INNER else ("start" if right else "end") if level else _upright(angle)
    turn = _spoke(angle) if spoken else None
    return Spot(place, round(x, 2), round(y, 2), side, turn, _short(place.name) if named else "")


def _upright(angle: float) -> str:
    return "above" if math.sin(angle) < 0 else "below"


def _spoke(angle: float) -> float:
    """Outwards, as it looks at `ASPECT`, and never upside down."""
    degrees = math.degrees(math.atan2(math.sin(angle), ASPECT * math.cos(angle)))
    return round(degrees if math.cos(angle) > 0 else degrees + 180, 1) % 360


def _short(name: str) -> str:
    return name if len(name) <= LABEL else name[: LABEL - 1] + "…"


def strokes(ties: Iterable[Tie], places: Iterable[Spot]) -> list[Stroke]:
    """Thickness says throughput (a step per factor of ten), the state says loss; those in trouble are drawn last, on top."""
    at = {spot.place.name: spot for spot in places}
    found = [
        _stroke(tie, at[tie.a], at[tie.b], at.values())
        for tie in ties
        if tie.a in at and tie.b in at and tie.a != tie.b
    ]
    return sorted(found, key=lambda stroke: (ORDER.index(stroke.state), stroke.tie.a, stroke.tie.b))


def _stroke(tie: Tie, one: Spot, other: Spot, everybody: Iterable[Spot]) -> Stroke:
    mark = _marked(one, other, everybody if tie.look in TROUBLE else ())
    return Stroke(tie, one.x, one.y, other.x, other.y, tie.look, _width(tie.rate), mark)


def _marked(one: Spot, other: Spot, everybody: Iterable[Spot]) -> tuple[float, float]:
    """Off the middle, in which all long links of a ring cross, and where it hides as few sites and names as can be."""
    ways = [
        (one.x + (other.x - one.x) * share, one.y + (other.y - one.y) * share + off)
        for off in BESIDE
        for share in MARKS
    ]
    seen = list(everybody)
    x, y = min(ways, key=lambda at: sum(_hides(at, spot) for spot in seen))
    return round(x, 2), round(y, 2)


def _hides(at: tuple[float, float], spot: Spot) -> int:
    """2 for a site, 1 for a name."""
    box = at[0] - MARK[0], at[1] - MARK[1], at[0] + MARK[0], at[1] + MARK[1]
    near = math.hypot(at[0] - spot.x, (at[1] - spot.y) / ASPECT) < CLEAR
    return 2 * near + (spot.written is not None and geo.overlap(box, spot.written))


def _width(rate: float | None) -> float:
    """1.5 for an idle link, or one whose throughput nobody has measured, to 7 for a gigabit per second."""
    if rate is None or rate < 1e4:
        return 1.5
    return round(min(7.0, 1.5 + 1.1 * (math.log10(rate) - 4)), 1)


def sparkline(values: Sequence[float | None], width: float = 96, height: float = 20, top: float | None = None) -> str:
    """A path ("M… L…") per run of values; gaps stay gaps, a value without neighbours is a dot. The scale is zero to `top`, or to the
    greatest value."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    whole, step = top or max(known) or 1.0, width / max(1, len(values) - 1)
    path, pen = [], "M"
    for index, value in enumerate(values):
        if value is None:
            pen = "M"
            continue
        y = height - 1 - min(value / whole, 1.0) * (height - 2)
        alone = pen == "M" and (index + 1 == len(values) or values[index + 1] is None)
        path.append(f"{pen}{index * step:.1f} {y:.1f}" + ("h0.1" if alone else ""))
        pen = "L"
    return " ".join(path)


def shade(rtt_ms: float | None) -> str:
    """A class of the grid's cells: how far away a site is. 10 ms is a neighbouring prefecture, 40 ms the other end of Japan, 150 ms
    across the Pacific."""
    if rtt_ms is None:
        return "none"
    return next((name for limit, name in ((10, "near"), (40, "mid"), (150, "far")) if rtt_ms < limit), "remote")
