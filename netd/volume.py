"""Watching how much each line has carried this month, and holding to its cap: told from 80 % on, spared from 95 % on, stopped at the cap.

Bytes are read from the links' interfaces; what was counted is written down at most every 30 s, and outlasts netd, links and membership.
"""

from __future__ import annotations

import contextlib
import logging
import time
from pathlib import Path

import msgspec

from netd.core.lines import Line
from netd.core.overlay import interface
from netd.core.volume import Clock, Ledger, Reading, begin, believe, enter, level, month, told
from netd.core.wanted import Wanted
from netd.overlay import Overlay
from netd.shell import counters, files
from netd.ways import Ways

log = logging.getLogger(__name__)
FILE = "volume.json"
LOOK_EVERY = 5.0
SAVE_EVERY = 30.0


class Volume:
    """One per daemon; `netd.following.Part`."""

    def __init__(self, overlay: Overlay, lines: tuple[Line, ...], ways: Ways) -> None:
        self._overlay, self._lines, self._ways = overlay, lines, ways
        self._path = overlay.config.state_dir / FILE
        self.ledger = self._saved = read(overlay.config.state_dir)
        self._clock: Clock | None = None
        self._looked = -SAVE_EVERY
        self._saved_at = 0.0

    def follow(self, wanted: Wanted) -> None:
        steady = counters.steady()
        if steady - self._looked < LOOK_EVERY:
            return
        self._looked = steady
        now = self._now(steady)
        if any(line.cap for line in self._lines):
            self._ways.follow(wanted)
            self.ledger = enter(self.ledger, self._readings(wanted), now, self._names(wanted))
            self._save(steady)
        self._hold(now)

    def problems(self) -> tuple[str, ...]:
        now = self.ledger.at
        return tuple(
            told(line.name, self.ledger.of(line.name, month(now)), line.cap, now) for line in self._lines if line.cap
        )

    def _now(self, steady: float) -> float:
        """Seconds since 1970, as far as the clock is believed."""
        wall = time.time()
        self._clock = believe(self._clock or begin(wall, steady, self.ledger.at), wall, steady)
        return self._clock.now(steady)

    def _readings(self, wanted: Wanted) -> dict[str, Reading]:
        found = {}
        for number, way in self._ways.known.items():
            name, line = interface(wanted.instance, number), way.line.name if way.line and way.line.cap else None
            with contextlib.suppress(OSError):  # not made yet, or just removed
                found[name] = Reading(*counters.carried(name), line, way.version)
        return found

    @staticmethod
    def _names(wanted: Wanted) -> set[str]:
        return {interface(wanted.instance, link.number) for link in wanted.spec.links}

    def _save(self, steady: float) -> None:
        if self.ledger.marks == self._saved.marks or steady - self._saved_at < SAVE_EVERY:
            return
        self._saved, self._saved_at = self.ledger, steady
        files.write(self._path, msgspec.json.encode(self.ledger).decode(), 0o600)

    def _hold(self, now: float) -> None:
        """To the caps: which links others should not use, and whether anything passes at all."""
        levels = {line.name: level(self.ledger.of(line.name, month(now)), line.cap) for line in self._lines}
        scarce = {name for name, how in levels.items() if how in ("spare", "stop")}
        used = {number: way.line.name for number, way in self._ways.known.items() if way.line}
        self._overlay.sparing = frozenset(number for number, line in used.items() if line in scarce)
        stopped = any(how == "stop" and name in used.values() for name, how in levels.items())
        if stopped != self._overlay.home.capped.exists():
            log.warning("a line's volume is used up" if stopped else "there is volume again")
            if stopped:
                self._overlay.home.capped.touch()
            else:
                self._overlay.home.capped.unlink(missing_ok=True)


def read(state: Path) -> Ledger:
    """The ledger of a node's state folder; an empty one where there is none, or it cannot be read."""
    with contextlib.suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode(files.read(state / FILE) or "", type=Ledger)
    return Ledger(at=0.0)


def shown(state: Path, lines: tuple[Line, ...]) -> list[dict[str, object]]:
    """What `netd status` says of lines: bytes of the month in which netd counted last, as it wrote them down; `cap` and `rate_mbit` are
    None where there is none."""
    ledger = read(state)
    return [
        {
            **{"name": line.name, "month": month(ledger.at) if ledger.at else None, "cap": line.cap or None},
            **{"used": ledger.of(line.name, month(ledger.at)), "rate_mbit": line.rate_mbit or None},
        }
        for line in lines
    ]
