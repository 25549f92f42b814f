"""Sees that names have changed, and has all nodes told."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from garage.services import naming
from garage.services.context import Context

EVERY = 1.0


class NameTeller:
    """Used by one thread."""

    def __init__(self, ctx: Context, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._ctx, self._monotonic, self._next = ctx, monotonic, 0.0
        self._seen: Mapping[str, int] = {}

    def turn(self) -> None:
        """Cheap while no spec has changed."""
        if self._monotonic() < self._next:
            return
        self._next = self._monotonic() + EVERY
        if (versions := naming.versions(self._ctx)) != self._seen:
            naming.spread(self._ctx)
            self._seen = versions
