"""Has what was audited sealed within a second, by whichever worker comes first."""

from __future__ import annotations

import time
from collections.abc import Callable

from garage.services import sealing
from garage.services.context import Context

EVERY = 0.5
"""Seconds between two seals: a burst of entries costs one transaction more, not one each."""


class Sealer:
    """Used by one thread."""

    def __init__(self, ctx: Context, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._ctx, self._monotonic = ctx, monotonic
        self._due, self._next = True, float("-inf")

    def turn(self, changed: bool) -> None:
        """`changed`: somebody has committed something. Cheap while nobody does."""
        self._due = self._due or changed
        if self._due and self._monotonic() >= self._next:
            self._due = sealing.seal(self._ctx)
            self._next = self._monotonic() + EVERY
