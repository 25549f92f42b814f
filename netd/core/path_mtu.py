"""How large the packets of a link may be: which sizes to try, what follows from those that came through, when to look again; pure.

Sizes are whole IP packets inside the tunnel, in bytes. A search has two stages: echoes outside the tunnel to where the peer is seen,
with DF and `OVERHEAD` larger, then echoes inside it, which also find what the way outside did not show (nobody answers there, or a
provider's NAT answers in the peer's place). What the inside stage takes away is not tried again for `CEILING_HOLDS`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal

from netd.core.volume import OVERHEAD

LEAST, MOST = 1280, 1420
"""IPv6 needs the one (RFC 8200, section 5); a line of 1,500 bytes carries the other over IPv6 and WireGuard."""
TRIES, TRIES_BETWEEN = 5, 3
"""Unanswered echoes of a size, until it counts as too large. Of the largest: with 10 % loss each way one search of 4,000 is wrong. Of the
sizes between, which only a narrow way asks for: a few bytes too little do no harm."""
AT_ONCE = 4
"""Sizes between what passes and what does not: 140 bytes in three turns."""
EVERY = 600.0
CEILING_HOLDS = 6 * 3600.0

Stage = Literal["outside", "inside", "rest"]


@dataclass(frozen=True, slots=True)
class Search:
    """`asked`: the sizes of this turn, smallest first; none when the search is over."""

    asked: tuple[int, ...]
    passed: int = 0
    """Largest size that was answered; 0: none."""
    failed: int = MOST + 1
    """Smallest that was not."""
    tries: int = TRIES
    """Left for `asked`."""


def search(top: int) -> Search:
    """For the largest size up to `top`; at first the largest and the least, as nearly always the largest passes."""
    return Search((LEAST, top) if top > LEAST else (top,), failed=top + 1)


def after(last: Search, answered: Collection[int]) -> Search:
    """When a second has passed since its sizes were sent. What a larger packet came through, a smaller one does, too."""
    passed = max((last.passed, *(size for size in answered if size in last.asked)))
    left = tuple(size for size in last.asked if size > passed)
    if left and last.tries > 1:
        return replace(last, asked=left, passed=passed, tries=last.tries - 1)
    failed = min((last.failed, *left))
    return Search(_between(passed, failed) if passed else (), passed, failed, TRIES_BETWEEN)


def _between(passed: int, failed: int) -> tuple[int, ...]:
    """At most `AT_ONCE` sizes that cut the gap into even parts."""
    gap = failed - passed
    return tuple(sorted({passed + gap * part // (AT_ONCE + 1) for part in range(1, AT_ONCE + 1)} - {passed}))


@dataclass(frozen=True, slots=True)
class Path:
    """A link's way to its peer's `host`."""

    host: str
    stage: Stage
    search: Search
    top: int
    mtu: int | None = None
    """What the link should have; None: not known yet, it keeps what it has."""
    higher: int = 0
    """More than `mtu`, found by the last search; taken when the next one finds it, too."""
    ceiling: int = MOST
    ceiling_since: float = 0.0
    ended: float = 0.0
    """When the last search was over. Seconds on the clock of `now`."""

    @property
    def version(self) -> int:
        return 6 if ":" in self.host else 4


def largest(host: str, route_mtu: int | None) -> int:
    """What the first device of the way, or what a router on it once said, lets through."""
    known = MOST if route_mtu is None else route_mtu - OVERHEAD[6 if ":" in host else 4]
    return max(LEAST, min(MOST, known))


def begin(host: str, route_mtu: int | None, like: int | None = None) -> Path:
    """The peer is seen at a host for the first time, or anew. What this server's own device cannot carry needs no search. `like`: what
    another link to that host has, as when new keys make a new link."""
    top = largest(host, route_mtu)
    known = min(top, like or top)
    return Path(host, "outside", search(top), top, mtu=known if like or known < MOST else None)


def due(path: Path, now: float) -> bool:
    """Whether it is time to search again."""
    return path.stage == "rest" and not 0 <= now - path.ended < EVERY


def again(path: Path, route_mtu: int | None, now: float) -> Path:
    """The next search of the same way."""
    held = 0 <= now - path.ceiling_since < CEILING_HOLDS
    ceiling = path.ceiling if held else MOST
    top = min(largest(path.host, route_mtu), ceiling)
    return replace(path, stage="outside", search=search(top), top=top, ceiling=ceiling)


def ends(path: Path, answered: Collection[int]) -> bool:
    """Whether `turn` will end a stage."""
    return not after(path.search, answered).asked


def turn(path: Path, answered: Collection[int], present: int, route_mtu: int | None, now: float) -> Path:
    """A second after the sizes of `path.search` were sent. `present`: the MTU of the link's interface; `route_mtu` is looked at when a
    stage ends: large packets may just have taught the kernel better."""
    found = after(path.search, answered)
    if found.asked or path.stage == "rest":
        return replace(path, search=found)
    known = largest(path.host, route_mtu)
    if path.stage == "outside":
        settled = _settle(path, min(found.passed or path.top, known))
        top = max(LEAST, min(settled.mtu or MOST, present))
        return replace(settled, stage="inside", search=search(top), top=top)
    limit = found.passed if 0 < found.passed < path.top else MOST  # nothing at all: the link is down, whatever the size
    return replace(_limit(path, min(limit, known), now), stage="rest", search=found, ended=now)


def _settle(path: Path, found: int) -> Path:
    """Less is taken at once, more when it was found twice: what is asked for often must not swing."""
    if path.mtu is None or found < path.mtu:
        return replace(path, mtu=found, higher=0)
    if found == path.mtu:
        return replace(path, higher=0)
    if path.higher:
        return replace(path, mtu=min(found, path.higher), higher=0)
    return replace(path, higher=found)


def _limit(path: Path, limit: int, now: float) -> Path:
    if path.mtu is None or limit >= path.mtu:
        return path
    return replace(path, mtu=limit, higher=0, ceiling=limit, ceiling_since=now)
