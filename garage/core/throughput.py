"""Which links are measured when: one at a time per site, on demand first, and by schedule in the registry's night. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

HOUR, DAY = 3600.0, 86_400.0
NIGHT = 1 * HOUR, 5 * HOUR
"""From one to five by the registry's clock, where lines are idle and fewest people are at their machines."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A measurement that has not begun."""

    id: str
    sites: frozenset[str]


def startable(waiting: Sequence[Waiting], busy: Collection[str]) -> list[str]:
    """Ids of those that may begin now, the oldest first. Whoever waits keeps its sites from those behind it, so that all get their turn."""
    taken, found = set(busy), []
    for one in waiting:
        if not taken & one.sites:
            found.append(one.id)
        taken |= one.sites
    return found


def in_night(now: float, midnight: float) -> bool:
    return NIGHT[0] <= now - midnight < NIGHT[1]


def due(last: Mapping[int, float], midnight: float, now: float, every_days: int) -> list[int]:
    """Numbers of the links to measure now, the longest due first. `last`: link number → when it was tried last, 0 for never; `midnight`:
    when the registry's day began (seconds since 1970); every so many days, 0 for never.

    Each link has a moment of its own in the night, which depends on its number alone: a registry that starts again goes on.
    """
    if not every_days or not in_night(now, midnight):
        return []
    turns = {number: midnight + moment(number) for number in last if _its_day(number, midnight, every_days)}
    return sorted((n for n, turn in turns.items() if last[n] < turn <= now), key=lambda n: (turns[n], n))


def moment(number: int) -> float:
    """Seconds after midnight, evenly spread over `NIGHT`."""
    share = int.from_bytes(_digest(number)[:4], "big") / 2**32
    return NIGHT[0] + share * (NIGHT[1] - NIGHT[0])


def _its_day(number: int, midnight: float, every_days: int) -> bool:
    today = round((midnight + DAY / 2) // DAY)
    return today % every_days == int.from_bytes(_digest(number)[4:8], "big") % every_days


def _digest(number: int) -> bytes:
    return hashlib.sha256(b"measure %d" % number).digest()


@dataclass(frozen=True, slots=True)
class Choice:
    """A link that could be measured."""

    number: int
    up: bool
    preference: int


def choose(links: Iterable[Choice]) -> int | None:
    """Of several links between two sites the one that carries most traffic; None where none is up."""
    up = [link for link in links if link.up]
    return min(up, key=lambda link: (-link.preference, link.number)).number if up else None
