"""RTT and loss of a stretch of time as figures for an SVG with axes; pure. Places on both axes are in percent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from garage.core.samples import Sample
from web.sitemap import sparkline

WIDTH, HEIGHT = 720.0, 100.0
"""Of the paths' own coordinates, which are stretched to whatever space there is."""
LOSS_HEIGHT = 30.0
STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 180, 240, 360)
"""Minutes between marks of the time axis."""


@dataclass(frozen=True, slots=True)
class Tick:
    at: float
    """Percent from the left, or from the top."""
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    rtt: str
    """A path in `WIDTH` × `HEIGHT`; empty where nothing was measured."""
    loss: str
    """Bars as a path in `WIDTH` × `LOSS_HEIGHT`."""
    top: float
    """Upper end of the RTT axis, ms."""
    loss_top: float
    """Upper end of the loss axis, 0 to 1."""
    times: list[Tick]
    levels: list[Tick]
    zone: str
    values: list[list[float | None]]
    """[RTT in ms, loss in percent] by minute, for pointing at."""


def draw(samples: Sequence[Sample], start: float, zone: tzinfo) -> Chart:
    """`start` is the first sample's minute, UTC seconds since 1970."""
    times = [sample.rtt_ms for sample in samples]
    lost = [sample.loss for sample in samples]
    top, marks = axis(max((value for value in times if value is not None), default=1.0))
    loss_top = max(0.05, *(value for value in lost if value is not None), 0.0) if lost else 0.05
    return Chart(
        rtt=sparkline(times, WIDTH, HEIGHT, top),
        loss=_bars(lost, loss_top),
        top=top,
        loss_top=loss_top,
        times=_times(start, len(samples), zone),
        levels=[Tick(round(100 - 100 * mark / top, 2), f"{mark:g}") for mark in marks],
        zone=datetime.fromtimestamp(start, UTC).astimezone(zone).strftime("%Z"),
        values=[[sample.rtt_ms, None if sample.loss is None else round(sample.loss * 100, 1)] for sample in samples],
    )


def axis(most: float) -> tuple[float, list[float]]:
    """(the axis's upper end, its marks from 0 on): round numbers, three to six of them."""
    raw = max(most, 0.001) / 4
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw - 1e-12)
    count = math.ceil(max(most, 0.001) / step - 1e-9)
    return round(step * count, 6), [round(step * number, 6) for number in range(count + 1)]


def _bars(lost: Sequence[float | None], top: float) -> str:
    """A bar per minute with loss."""
    step = WIDTH / max(1, len(lost))
    bars = []
    for index, value in enumerate(lost):
        if value:
            height = max(1.0, value / top * LOSS_HEIGHT)
            bars.append(f"M{index * step:.1f} {LOSS_HEIGHT:g}v{-height:.1f}h{max(step, 0.8):.1f}V{LOSS_HEIGHT:g}z")
    return "".join(bars)


def _times(start: float, minutes: int, zone: tzinfo) -> list[Tick]:
    """At whole hours (or parts of them) of the reader's clock."""
    step = next(step for step in STEPS if minutes / step <= 8 or step == STEPS[-1])
    first = datetime.fromtimestamp(start, UTC).astimezone(zone)
    moment, last = first.replace(minute=0, second=0, microsecond=0), first + timedelta(minutes=minutes - 1)
    found = []
    while moment <= last:
        if moment >= first and (moment.hour * 60 + moment.minute) % step == 0:
            found.append(
                Tick(round((moment - first) / timedelta(minutes=max(1, minutes - 1)) * 100, 2), f"{moment:%H:%M}")
            )
        moment += timedelta(minutes=min(step, 60))
    return found
