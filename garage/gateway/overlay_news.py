"""Wakes the nodes that wait for news of the overlay, and tends the registry meanwhile.

Nothing runs while no node waits. While some do, a thread asks every 50 ms whether anything was committed, and only then for one number.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from garage.db.session import ChangeWatch
from garage.errors import GarageError
from garage.gateway.hub import Hub
from garage.services import measurements, registry, tending, throughput
from garage.services.context import Context

log = logging.getLogger(__name__)

POLL_SECONDS = 0.05
TEND_SECONDS = 1.0
TEND_SHARE = 10
"""Tending may take a tenth of one CPU: with a thousand sites a look at the topology takes its time."""
LOOK_AGAIN = 600.0
"""Seconds after which everything is looked at although no link came or went: times of travel change."""
FORGET_EVERY = 3600.0
PLAN_EVERY = 15.0
"""Seconds between looks at whether a link's throughput is due."""
TOLD_PER_SECOND = 500
"""A new Table concerns all nodes: those whose links did not change are told with so much spread."""


class Waiter:
    """A node that waits, until `woken` is set."""

    def __init__(self, node_id: str) -> None:
        self.node_id = node_id
        self.woken = asyncio.Event()


class OverlayNews:
    """Lives on the event loop; its thread lives from the first waiter on until `close`."""

    def __init__(self, ctx: Context, hub: Hub) -> None:
        self._ctx, self._hub = ctx, hub
        self._waiters: set[Waiter] = set()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def waiting(self, node_id: str) -> Iterator[Waiter]:
        """Whoever looks at the database *after* this misses nothing."""
        waiter = Waiter(node_id)
        self._waiters.add(waiter)
        if self._thread is None:
            loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._run, args=(loop,), name="overlay-news", daemon=True)
            self._thread.start()
        try:
            yield waiter
        finally:
            self._waiters.discard(waiter)

    @property
    def closing(self) -> bool:
        return self._hub.closing or self._stop.is_set()

    def close(self) -> None:
        self._stop.set()
        self._wake_all()

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        """The thread; survives a database that is away for a while."""
        watching = _Watching(self._ctx)
        while not self._stop.wait(POLL_SECONDS) and not loop.is_closed():
            try:
                if self._hub.closing:
                    loop.call_soon_threadsafe(self._wake_all)
                elif changed := watching.changed():
                    loop.call_soon_threadsafe(self._wake, *changed)
                watching.tend()
            except GarageError as error:
                log.warning("the overlay's nodes wait for the database: %s", error)
                self._stop.wait(TEND_SECONDS)
            except Exception:
                log.exception("a look at the registry failed")
                self._stop.wait(TEND_SECONDS)
        watching.close()

    def _wake(self, changed: set[str], table: bool) -> None:
        """At once those with new links (or who are no members any more), then the others if the Table changed."""
        loop, rest = asyncio.get_running_loop(), []
        for waiter in self._waiters:
            if waiter.node_id in changed:
                waiter.woken.set()
            else:
                rest.append(waiter)
        spread = len(rest) / TOLD_PER_SECOND
        for waiter in rest if table else ():
            loop.call_later(random.uniform(0, spread), waiter.woken.set)  # noqa: S311  (spreads load, guards nothing)

    def _wake_all(self) -> None:
        for waiter in self._waiters:
            waiter.woken.set()


class _Watching:
    """What the thread knows: the last serial, every node's version."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._watch: ChangeWatch | None = None
        self._serial, self._table = -1, 0
        self._versions: dict[str, int] = {}
        self._tended, self._next_tend, self._next_forget, self._again = -1, 0.0, 0.0, 0.0
        self._next_plan = 0.0

    def changed(self) -> tuple[set[str], bool] | None:
        """(ids of nodes whose spec changed or who are gone, whether the Table changed); None when nothing did."""
        try:
            if self._watch is None:
                self._watch = ChangeWatch(self._ctx.db)
            elif not self._watch.changed():
                return None
            serial, table, versions = registry.versions(self._ctx, self._serial)
        except Exception:
            self._watch = None
            raise
        if serial == self._serial:
            return None
        changed = {node for node, version in versions.items() if version != self._versions.get(node)}
        gone, new_table = self._versions.keys() - versions.keys(), table != self._table
        self._serial, self._table, self._versions = serial, table, versions
        return changed | gone, new_table

    def tend(self) -> None:
        """At most once a second, and only when something happened."""
        now = time.monotonic()
        if now < self._next_tend:
            return
        self._next_tend = now + TEND_SECONDS
        if now >= self._next_forget:
            self._next_forget = now + FORGET_EVERY
            tending.forget(self._ctx)
        measurements.tend(self._ctx)
        if now >= self._next_plan:
            self._next_plan = now + PLAN_EVERY
            throughput.plan(self._ctx, midnight)
        dirty = tending.dirty(self._ctx)
        if dirty != self._tended or now >= self._again:
            more = tending.tend(self._ctx)
            self._tended, self._again = dirty, time.monotonic() + (TEND_SECONDS if more else LOOK_AGAIN)
        self._next_tend = time.monotonic() + max(TEND_SECONDS, TEND_SHARE * (time.monotonic() - now))

    def close(self) -> None:
        if self._watch:
            self._watch.close()


def midnight(now: float) -> float:
    """When today began by this server's clock and zone."""
    return datetime.fromtimestamp(now).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
