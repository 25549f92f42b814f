"""Whether two servers report as one node, as when a server's files were copied; pure.

Each start of netd has a random id, each installation one of its own. A start that is replaced never speaks again; one that does while
another has spoken since runs beside it. The installation that was heard first is believed, the other one is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

KEPT = 4
"""Starts that are remembered."""
ALIVE = 60.0
"""Seconds since it was last heard for which a start counts as running; reports come every 10 s and are written down every 30 s."""
RETURNS, WITHIN = 2, 300.0
"""Two servers, if starts came back so often within so many seconds. Once may be a report that was overtaken."""


@dataclass(frozen=True, slots=True)
class Start:
    """`placed` and `since`: when its installation and the start itself were first heard; seconds since 1970."""

    start: str
    place: str
    placed: float
    since: float
    last: float


@dataclass(frozen=True, slots=True)
class Heard:
    """Of one node: starts, the one that spoke last at the end, and when one came back after another had spoken."""

    starts: tuple[Start, ...] = ()
    back: tuple[float, ...] = ()

    @property
    def latest(self) -> str:
        return self.starts[-1].start if self.starts else ""

    def hear(self, start: str, place: str, now: float) -> Heard:
        """With one more report."""
        known = next((one for one in self.starts if one.start == start), None)
        others = tuple(one for one in self.starts if one.start != start)
        if known is None:
            placed = min((one.placed for one in others if one.place == place), default=now)
            return replace(self, starts=(*others, Start(start, place, placed, now, now))[-KEPT:])
        returned = known is not self.starts[-1]
        back = tuple(at for at in self.back if 0 <= now - at < WITHIN)
        return Heard((*others, replace(known, last=now)), (*back, now)[-RETURNS:] if returned else back)

    def suspected(self, now: float) -> bool:
        return any(0 <= now - at < WITHIN for at in self.back)

    def twins(self, now: float) -> bool:
        """It is sure that two servers report."""
        return sum(0 <= now - at < WITHIN for at in self.back) >= RETURNS

    def believed(self, start: str, now: float) -> bool:
        """Whether what this start, which was heard just now, says of the node counts."""
        me = next(one for one in self.starts if one.start == start)
        rivals = [one for one in self.starts if one is not me and 0 <= now - one.last < ALIVE]
        if self.suspected(now):
            return all((me.placed, me.since) <= (one.placed, one.since) for one in rivals)
        return all(me.placed <= one.placed for one in rivals)

    def packed(self) -> dict[str, Any]:
        """For a column of JSON."""
        return {"starts": [asdict(one) for one in self.starts], "back": list(self.back)}


def unpacked(value: Mapping[str, Any] | None) -> Heard:
    if not value:
        return Heard()
    return Heard(tuple(Start(**one) for one in value["starts"]), tuple(value["back"]))
