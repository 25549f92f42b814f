"""Throughput by order of the registry: one measurement at a time, on a thread of its own, each order at most once.

An order is remembered before it is begun, so that a netd which was killed meanwhile says so and does not measure again.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from netd.core import throughput
from netd.core.throughput import Failed
from netd.core.wanted import Wanted
from netd.shell import files, iperf
from netd.wire import Link, Order, Outcome

log = logging.getLogger(__name__)
FILE = "measured.json"
AGAIN = 0.3
"""Seconds between tries while the other end does not listen yet."""


class Ends(Protocol):
    """Both ends of a run; `netd.shell.iperf` is the real one. Raise `Failed`."""

    def serve(self, order: Order, link: Link) -> None: ...
    def ask(self, order: Order, link: Link, *, reverse: bool) -> tuple[float, int]: ...


class Throughput:
    """`folder` is the membership's: what was measured is forgotten with it."""

    def __init__(self, folder: Path, ends: Ends = iperf, clock: Callable[[], float] = time.time) -> None:
        self._path, self._ends, self._clock = folder / FILE, ends, clock
        self._last: Outcome | None = None
        self._wanted = ""
        """Id of the order in force."""
        self._thread: threading.Thread | None = None

    def follow(self, wanted: Wanted) -> None:
        """Begin with an order that was not done yet; returns at once."""
        order = wanted.spec.order
        self._wanted = order.id if order else ""
        if order is None or self.busy:
            return
        self._last = self._last or self._remembered()
        link = throughput.link_of(order, wanted.spec.links)
        if link is None or (self._last is not None and self._last.id == order.id):
            return
        self._keep(throughput.failed(order, "netd was ended while it measured"))
        self._thread = threading.Thread(target=self._do, args=(order, link), name="throughput", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def outcome(self) -> Outcome | None:
        """Of the last order, once it is over."""
        return None if self.busy else self._last

    def problems(self) -> tuple[str, ...]:
        return ()

    def _do(self, order: Order, link: Link) -> None:
        try:
            self._keep(self._done(order, link))
        except Failed as error:
            log.warning("link %s was not measured: %s", link.number, error)
            self._keep(throughput.failed(order, str(error)))

    def _done(self, order: Order, link: Link) -> Outcome:
        if reason := throughput.late(order, self._clock()):
            raise Failed(reason)
        if order.role == "server":
            for _ in ("from the peer", "to the peer"):
                self._ends.serve(order, link)
            return Outcome(id=order.id)
        sent = self._ask(order, link, reverse=False)
        return throughput.outcome(order, sent, self._ask(order, link, reverse=True))

    def _ask(self, order: Order, link: Link, *, reverse: bool) -> tuple[float, int]:
        """Until the peer listens, or has had its time for that."""
        until = time.monotonic() + throughput.START_SECONDS
        while True:
            try:
                return self._ends.ask(order, link, reverse=reverse)
            except Failed as error:
                if not error.early or time.monotonic() > until or self._wanted != order.id:
                    raise
            time.sleep(AGAIN)

    def _remembered(self) -> Outcome | None:
        try:
            return msgspec.json.decode(files.read(self._path) or "null", type=Outcome | None)
        except (msgspec.DecodeError, msgspec.ValidationError):
            return None

    def _keep(self, outcome: Outcome) -> None:
        self._last = outcome
        with contextlib.suppress(FileNotFoundError):  # the overlay was left meanwhile
            files.write(self._path, msgspec.json.encode(outcome).decode(), 0o600)
