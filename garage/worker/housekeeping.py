"""What nobody waits for: old events and moves are removed once in a while."""

from __future__ import annotations

import time
from collections.abc import Callable

from garage.services import events, moving
from garage.services.context import Context

EVERY = 3600.0


class Housekeeper:
    """Used by one thread."""

    def __init__(self, ctx: Context, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._ctx, self._monotonic, self._next = ctx, monotonic, monotonic() + 60.0

    def turn(self) -> None:
        """Cheap when nothing is due."""
        if self._monotonic() >= self._next:
            self._next = self._monotonic() + EVERY
            events.prune(self._ctx)
            moving.prune(self._ctx)
