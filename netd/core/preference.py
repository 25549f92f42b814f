"""Which links are preferred: round trips of a link to RTT, jitter and loss, and these to one of four classes. Pure; times in ms.

eBGP carries no metric, so a class becomes a local preference. A class is changed only when the line is clearly past a threshold and has
been for a while: each change moves traffic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Class = Literal[0, 1, 2, 3]
"""3 is best."""

LOCAL_PREF: dict[Class, int] = {0: 100, 1: 200, 2: 300, 3: 400}
DRAINING = 50
"""Below all classes: a link that is about to go is taken only where there is no other."""

RTT_MS = (20.0, 60.0, 150.0)
"""Up to 20 ms: the same region, where nothing interactive suffers; up to 60 ms: one country; up to 150 ms: where ITU-T G.114 sees a
conversation begin to suffer (150 ms one way, so with margin); what is longer is the last resort."""
LOSS = (0.005, 0.02, 0.08)
"""TCP's rate falls with 1/sqrt(loss) (Mathis et al. 1997): 0.5 % is felt on long lines, 2 % everywhere, at 8 % a line is hardly usable."""
RTT_MARGIN, LOSS_MARGIN = 0.2, 0.4
"""Hysteresis: a class is left downwards at 1 + margin times its threshold, and taken up again at 1 - margin times it."""
WINDOW = 60
"""Samples kept; at one per second a minute. A lost one in 60 is 1.7 %."""
LEAST = 5
"""Samples before anything is said."""
DWELL = 20
"""Samples for which a better class must hold before it is taken; a worse one holds at once, once its window shows it."""


@dataclass(frozen=True, slots=True)
class Window:
    """The last probes of a link, oldest first: a round trip in ms, or None for a lost one."""

    samples: tuple[float | None, ...] = ()
    jitter: float = 0.0
    """Smoothed (RFC 3550, section 6.4.1), over all samples so far."""
    last: float | None = None
    """The last round trip that was measured."""


@dataclass(frozen=True, slots=True)
class Quality:
    """What is known of a link; `loss` is a share of 0 to 1."""

    rtt_ms: float
    jitter_ms: float
    loss: float


@dataclass(frozen=True, slots=True)
class Grade:
    """A link's class, and for how many samples in a row a better one has held."""

    grade: Class
    better: int = 0


def add(window: Window, sample: float | None) -> Window:
    """The window with one more probe. Jitter follows J += (|D| - J) / 16, with D the difference of successive round trips: RFC 3550 takes
    that of transit times, which need clocks at both ends."""
    samples = (*window.samples, sample)[-WINDOW:]
    if sample is None:
        return Window(samples, window.jitter, window.last)
    jitter = window.jitter if window.last is None else window.jitter + (abs(sample - window.last) - window.jitter) / 16
    return Window(samples, jitter, sample)


def quality(window: Window) -> Quality | None:
    """None while too little is known; a link on which all was lost has an infinite RTT.

    The RTT is the median of what came back: one late answer says nothing about a line.
    """
    count = len(window.samples)
    if count < LEAST:
        return None
    heard = sorted(sample for sample in window.samples if sample is not None)
    rtt = heard[len(heard) // 2] if heard else math.inf
    return Quality(rtt, window.jitter, 1 - len(heard) / count)


def classify(previous: Grade | None, window: Window) -> Grade | None:
    """The class after the newest sample: that of the worse of RTT and loss. Call it once per sample.

    Without a previous class the thresholds hold as they are. With one, it is left for a worse class only past the upper margin, and for a
    better one only inside the lower margin for `DWELL` samples in a row. None while too little is known and nothing was.
    """
    known = quality(window)
    if known is None:
        return previous
    if previous is None:
        return Grade(_class(known, 1.0, 1.0))
    worst = _class(known, 1 + RTT_MARGIN, 1 + LOSS_MARGIN)
    best = _class(known, 1 - RTT_MARGIN, 1 - LOSS_MARGIN)
    if worst < previous.grade:
        return Grade(worst)
    if best <= previous.grade:
        return Grade(previous.grade)
    waited = previous.better + 1
    return Grade(best) if waited >= DWELL else Grade(previous.grade, waited)


def local_preference(grade: Class | None, *, draining: bool = False) -> int:
    """The BGP local preference of a link; one of which nothing is known yet is taken for class 1."""
    if draining:
        return DRAINING
    return LOCAL_PREF[1 if grade is None else grade]


def _class(known: Quality, rtt_factor: float, loss_factor: float) -> Class:
    """3 less the number of thresholds that are passed."""
    return min(_steps(known.rtt_ms, RTT_MS, rtt_factor), _steps(known.loss, LOSS, loss_factor))


def _steps(value: float, thresholds: Sequence[float], factor: float) -> Class:
    classes: tuple[Class, ...] = (3, 2, 1, 0)
    return classes[sum(value > threshold * factor for threshold in thresholds)]
