"""Watches over all nodes' signs of life, for every node's loop of this process."""

from __future__ import annotations

import time
from collections.abc import Callable

from garage.core.silence import Ages, Contact, Verdict, judge
from garage.services import silencing
from garage.services.context import Context

LOOK = 1.0
"""Seconds between two looks at all nodes' rows."""
NOTHING = Verdict(frozenset(), ours=False)


class Watchman:
    """`turn` is one thread's; `verdict` may be read by all."""

    def __init__(self, ctx: Context, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._ctx, self._monotonic = ctx, monotonic
        self._ages, self._next = Ages(), 0.0
        self.verdict = NOTHING

    def turn(self) -> None:
        """Cheap when it is not time yet."""
        now = self._monotonic()
        if now < self._next:
            return
        self._next = now + LOOK
        known = silencing.known(self._ctx)
        ages = self._ages.look({name: node.reported_at for name, node in known.items()}, now)
        self.verdict = judge(
            [Contact(name, node.hypervisor_away, ages[name], node.expected) for name, node in known.items()]
        )
