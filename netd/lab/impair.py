"""What a line does to one direction's packets. Pure: time and randomness are arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from netd.lab.model import Impairment

BUFFER_SECONDS = 0.1
"""How long a packet may wait for a slow line before it is dropped, a common size of a home router's buffer."""
BURST_BYTES = 3000
"""Two full packets always find room, however slow the line."""


@dataclass(slots=True)
class Counters:
    """Packets since the forwarder began."""

    passed: int = 0
    lost: int = 0
    """By chance, as `loss` says."""
    full: int = 0
    """Because the line's buffer was full."""


class Pipe:
    """One direction of a line; first in, first out."""

    def __init__(self, impairment: Impairment, random: Callable[[], float]) -> None:
        self.impairment, self.counters = impairment, Counters()
        self._random = random
        self._free_at = 0.0
        """When the wire has sent everything that it took."""
        self._last = 0.0

    def offer(self, now: float, size: int) -> float | None:
        """When a packet of `size` bytes that comes at `now` leaves the line, never before an earlier one; None: it is lost."""
        wanted = self.impairment
        if wanted.loss and self._random() < wanted.loss:
            self.counters.lost += 1
            return None
        sent = now
        if wanted.rate:
            start = max(now, self._free_at)
            if start - now > BUFFER_SECONDS + 8 * BURST_BYTES / wanted.rate:
                self.counters.full += 1
                return None
            sent = self._free_at = start + 8 * size / wanted.rate
        self.counters.passed += 1
        spread = wanted.jitter * (2 * self._random() - 1) if wanted.jitter else 0.0
        self._last = max(self._last, sent + wanted.delay + spread)
        return self._last

    def change(self, impairment: Impairment) -> None:
        """From now on; what is on its way arrives as it would have."""
        if impairment.rate != self.impairment.rate:
            self._free_at = 0.0
        self.impairment = impairment
