"""Which of this server's lines each link goes over, found out for those that count volumes or keep queues."""

from __future__ import annotations

from dataclasses import dataclass

from netd.core.lines import Line, line_of
from netd.core.wanted import Wanted
from netd.overlay import Overlay
from netd.shell import counters
from netd.wire import Link

BELIEVED = 20.0
"""Seconds for which the line of each link is believed; asking takes two programs."""


@dataclass(frozen=True, slots=True)
class Way:
    """`line` None: one of which nothing is known, or the site's own network. `version`: of IP."""

    line: Line | None
    version: int = 4


class Ways:
    """One per daemon."""

    def __init__(self, overlay: Overlay, lines: tuple[Line, ...]) -> None:
        self._overlay, self._lines = overlay, lines
        self._looked = -BELIEVED
        self.known: dict[int, Way] = {}
        """By link number; a link that is missing has not found its peer yet."""

    def follow(self, wanted: Wanted) -> None:
        """Look again where a link is new or the last look was long ago."""
        steady = counters.steady()
        if {link.number for link in wanted.spec.links} <= set(self.known) and steady - self._looked < BELIEVED:
            return
        self._looked = steady
        seen = self._overlay.tunnels.observe(wanted)
        ways = {
            link.number: self._way(wanted, link, seen[link.number].seen_at if link.number in seen else None)
            for link in wanted.spec.links
        }
        self.known = {number: way for number, way in ways.items() if way is not None}

    def _way(self, wanted: Wanted, link: Link, endpoint: str | None) -> Way | None:
        """None: not known yet; what such a link carries is counted as soon as it is. Nodes of one site are spoken to in its own network,
        which no provider counts."""
        if link.peer_asn == wanted.spec.asn:
            return Way(None)
        if endpoint is None:
            return self.known.get(link.number)
        host = endpoint.rpartition(":")[0].strip("[]")
        return Way(line_of(counters.device_towards(host), self._lines), 6 if ":" in host else 4)
