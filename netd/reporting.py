"""Reports on their way to the registry, sent by a thread of their own: whoever probes and mends never waits for an answer.

The latest one counts: a report that was not sent yet when a newer one came is never sent. The connection is kept.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from netd.errors import NetdError
from netd.membership import Home, Membership
from netd.shell.registry import Registry
from netd.wire import LinkReport


@dataclass(frozen=True, slots=True)
class _Errand:
    place: Home
    member: Membership
    report: LinkReport


class Reporter:
    """`hand` a report over and go on; `turn` is the thread's. `heard(folder)` is called when the registry has taken one."""

    def __init__(self, heard: Callable[[Path], None]) -> None:
        self._heard = heard
        self._changed = threading.Condition()
        self._next: _Errand | None = None
        self._member: Membership | None = None
        """For whom reports are sent; None: for nobody any more."""
        self._registry: Registry | None = None
        self._opened_for: Membership | None = None

    def hand(self, place: Home, member: Membership, report: LinkReport) -> None:
        with self._changed:
            self._next, self._member = _Errand(place, member, report), member
            self._changed.notify()

    def forget(self) -> None:
        """The overlay was left: nothing more is said, and what is being said may fail."""
        with self._changed:
            self._next = self._member = None
        if (registry := self._registry) is not None:
            registry.abort()

    def hurry(self) -> None:
        """Don't wait for an answer that can't come, as this server's address has changed."""
        if (registry := self._registry) is not None:
            registry.hurry()

    def turn(self) -> None:
        """Wait for a report and send it. Raises NetdError where it was not taken; the next turn then sends it again, or a newer one."""
        with self._changed:
            while (errand := self._next) is None:
                self._changed.wait()
            self._next = None
        try:
            self._registry_of(errand).report(errand.report)
        except NetdError:
            if self._again(errand):
                raise
            return
        self._heard(errand.place.path)

    def _again(self, errand: _Errand) -> bool:
        """Whether it matters that this one was not taken."""
        with self._changed:
            if self._member == errand.member:
                self._next = self._next or errand
            return self._member == errand.member

    def _registry_of(self, errand: _Errand) -> Registry:
        if self._registry is None or self._opened_for != errand.member:
            if self._registry is not None:
                self._registry.close()
            self._registry = Registry(errand.member.url, errand.member.pin, errand.place.credential())
            self._opened_for = errand.member
        return self._registry
