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

DIRECT = 150
"""What a way without a site in between is liked better by: a class says nothing about the rest of the way, so a detour is taken only
when the direct link is two classes worse."""

RTT_MS = (20.0, 60.0, 150.0)
"""Up to 20 ms: the same region, where nothing interactive suffers; up to 60 ms: one country; up to 150 ms: where ITU-T G.114 sees a
conversation begin to suffer (150 ms one way, so with margin); what is longer is the last resort."""
LOSS = (0.01, 0.03, 0.1)
"""TCP's rate falls with 1/sqrt(loss) (Mathis et al. 1997): 1 % is felt on long lines, 3 % everywhere, at 10 % a line is hardly usable."""
RTT_MARGIN = 0.2
"""Hysteresis: a class is left downwards at 1.2 times its threshold, and taken up again at 0.8 times it."""
Z = 1.5
"""Hysteresis of loss: a threshold is passed when the whole interval of Wilson's score (1927) of so many standard deviations lies beyond
it. Of 300 probes, class 3 is left at the sixth lost one and taken up again when there is none."""
WINDOW, RTT_WINDOW = 300, 30
"""Samples of which loss, and RTT, is taken; at one per second 5 minutes and half a minute. Outages are BFD's business."""
LEAST = 5
"""Samples before anything is said."""
LEAST_LOSS = 120
"""Samples before loss counts: three of the first forty would be 8 %, and a link would be left for a detour by the end that lost three of
its probes, while the other, which lost two, is `sure` and drops what comes by one. Of 120, seven must be lost for that."""
DWELL = 20
"""Samples for which a better class must hold before it is taken; a worse one holds at once, once its window shows it."""
SURE = 2
"""The least class of a link that neither end can be in doubt of; see `sure`."""
SURE_MS = RTT_MS[1] * (1 - RTT_MARGIN)
SURE_AFTER, SURE_LOOK, SURE_BAD = 30, 10, 2
"""Samples that make a link sure, samples in which it stays so, and how many of either may be bad."""


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
    count: int
    """Of how many probes."""


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
    """None while too little is known; a link on which all was lost of late has an infinite RTT.

    The RTT is the median of what came back: one late answer says nothing about a line.
    """
    count = len(window.samples)
    if count < LEAST:
        return None
    lost = window.samples.count(None)
    recent = sorted(sample for sample in window.samples[-RTT_WINDOW:] if sample is not None)
    rtt = recent[len(recent) // 2] if recent else math.inf
    return Quality(rtt, window.jitter, lost / count, count)


def classify(previous: Grade | None, window: Window) -> Grade | None:
    """The class after the newest sample: that of the worse of RTT and loss. Call it once per sample.

    The first one is the best that the samples allow. Later ones: it is left for a worse class only when the line is past a threshold with
    its margin, and for a better one only when it was so on the other side for `DWELL` samples in a row. None while too little is known
    and nothing was.
    """
    known = quality(window)
    if known is None:
        return previous
    least, most = _interval(known.loss, known.count) if known.count >= LEAST_LOSS else (0.0, 1.0)
    worst = min(_steps(known.rtt_ms, RTT_MS, 1 + RTT_MARGIN), _steps(least, LOSS))
    best = min(_steps(known.rtt_ms, RTT_MS, 1 - RTT_MARGIN), _steps(most, LOSS))
    if previous is None:
        return Grade(min(_steps(known.rtt_ms, RTT_MS), _steps(least, LOSS)))
    if worst < previous.grade:
        return Grade(worst)
    if best <= previous.grade:
        return Grade(previous.grade)
    waited = previous.better + 1
    return Grade(best) if waited >= DWELL else Grade(previous.grade, waited)


def sure(before: bool, window: Window) -> bool:
    """Whether neither end can be in doubt of a link, so that the peer's packets come by it and by no detour: because of `DIRECT` only one
    of class 1 or worse is left for a detour. It is given up after `SURE_BAD` bad samples, long before the peer's own window shows them."""
    count, samples = SURE_LOOK if before else SURE_AFTER, window.samples
    bad = sum(sample is None or sample > SURE_MS for sample in samples[-count:])
    return len(samples) >= count and bad <= SURE_BAD and samples.count(None) <= max(SURE_BAD, LOSS[0] * len(samples))


def local_preference(grade: Class | None, *, draining: bool = False) -> int:
    """The BGP local preference of a link; one of which nothing is known yet is taken for class 2: if it is direct, it is used at
    once."""
    if draining:
        return DRAINING
    return LOCAL_PREF[2 if grade is None else grade]


def _interval(share: float, count: int) -> tuple[float, float]:
    """Wilson's score interval of a share seen in `count` trials: where the true one lies, most likely."""
    middle = share + Z * Z / (2 * count)
    spread = Z * math.sqrt(share * (1 - share) / count + Z * Z / (4 * count * count))
    whole = 1 + Z * Z / count
    return max(0.0, (middle - spread) / whole), (middle + spread) / whole


def _steps(value: float, thresholds: Sequence[float], factor: float = 1.0) -> Class:
    """3 less the number of thresholds that are passed."""
    classes: tuple[Class, ...] = (3, 2, 1, 0)
    return classes[sum(value > threshold * factor for threshold in thresholds)]
