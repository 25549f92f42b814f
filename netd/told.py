"""What the daemon knows of the overlay beyond kernel and FRR, kept in a file for `netd status` and `netd doctor`: measurements, since when
each link is as it is, what went wrong, when the registry last answered."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from netd.shell import files
from netd.wire import LinkReport, SpecError, decode

FILE = "state.json"
STALE = 30.0
"""Seconds after which nobody keeps the file up to date: the daemon writes it every ten, and when a link comes or goes."""


class Told(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The file. Times in seconds since 1970."""

    at: float
    report: LinkReport
    since: dict[int, float] = {}
    """Link number → when it came into its present state."""
    classes: dict[int, int] = {}
    """Link number → the class of preference that routes were last made of."""
    heard_at: float = 0.0
    """When the registry last answered; 0: never since the daemon began."""

    def fresh(self, now: float) -> bool:
        return 0 <= now - self.at < STALE


def read(folder: Path) -> Told | None:
    """None where the daemon has written nothing that can be read."""
    with contextlib.suppress(SpecError, OSError):
        if (text := files.read(folder / FILE)) is not None:
            return decode(text.encode(), Told)
    return None


class Teller:
    """Writes the file; one per daemon, whose threads share it."""

    def __init__(self) -> None:
        self.heard_at = 0.0
        self._writing = threading.Lock()
        self._told: Told | None = None

    def tell(self, folder: Path, report: LinkReport, classes: Mapping[int, int]) -> None:
        """Raises OSError where the node has just left the overlay."""
        with self._writing:
            now, before = time.time(), self._told or read(folder)
            told = Told(
                at=now, report=report, since=since(before, report, now), classes=dict(classes), heard_at=self.heard_at
            )
            files.write(folder / FILE, msgspec.json.encode(told).decode(), 0o600)
            self._told = told

    def heard(self, folder: Path) -> None:
        """The registry has answered."""
        self.heard_at = time.time()
        self._change(folder, heard_at=self.heard_at)

    def reclassify(self, folder: Path, classes: Mapping[int, int]) -> None:
        """Routes follow other classes now."""
        if self._told is not None and self._told.classes != classes:
            self._change(folder, classes=dict(classes))

    def _change(self, folder: Path, **values: object) -> None:
        with self._writing:
            if self._told is not None:
                self._told = msgspec.structs.replace(self._told, **values)
                files.write(folder / FILE, msgspec.json.encode(self._told).decode(), 0o600)


def since(before: Told | None, report: LinkReport, now: float) -> dict[int, float]:
    """A link's time goes on while its state is the same, also over a restart of the daemon."""
    states = {link.number: link.state for link in before.report.links} if before else {}
    times = before.since if before else {}
    return {
        link.number: times.get(link.number, now) if states.get(link.number) == link.state else now
        for link in report.links
    }
