"""What is to be done for nodes whether or not anything happened: asked once for all nodes, so that a quiet fleet costs one question."""

from __future__ import annotations

import threading
from collections.abc import Callable

from garage.core.pool import Want
from garage.services import demand, leasing, pools
from garage.services.context import Context
from garage.services.work import Hold

EVERY = 5.0
SELDOM, SELDOM_PER_NODE = 60.0, 0.25
"""Seconds between looks at the pools of a node where nothing changes: for all of them together, four a second at most."""


class Chores:
    """Shared by the loops of all nodes of a worker."""

    def __init__(self, ctx: Context, monotonic: Callable[[], float]) -> None:
        self._ctx, self._monotonic = ctx, monotonic
        self._lock = threading.Lock()
        self._leases: set[str] = set()
        self._wants: list[Want] | None = None
        self._next = float("-inf")
        self._tended: dict[str, float] = {}

    def do(self, hold: Hold, *, lively: bool = True) -> None:
        """What is due on the hold's node. Pools of one where nothing has changed for a while are tended to more seldom."""
        with self._lock:
            if self._monotonic() >= self._next:
                self._leases, self._wants = leasing.nodes_due(self._ctx), self._demand()
                self._next = self._monotonic() + EVERY
            leases, wants = hold.node in self._leases, self._wants
            self._leases.discard(hold.node)
        if leases:
            leasing.run(self._ctx, hold)
        if wants is not None and (lively or self._is_time(hold.node)):
            pools.tend(self._ctx, hold, wants)

    def _is_time(self, node: str) -> bool:
        """Once in a while, and the more seldom the more nodes there are."""
        now, pause = self._monotonic(), max(SELDOM, len(self._tended) * SELDOM_PER_NODE)
        if now - self._tended.get(node, float("-inf")) < pause:
            return False
        self._tended[node] = now
        return True

    def _demand(self) -> list[Want] | None:
        """Of pools; None where there are none."""
        if not pools.any_to_tend(self._ctx):
            return None
        with self._ctx.db.read() as session:
            return list(demand.wants(session, self._ctx))
