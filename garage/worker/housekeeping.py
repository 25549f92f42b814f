"""What nobody waits for: old events, moves, news, audit entries and log files are removed once in a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from garage.services import events, moving, news, sealing
from garage.services.context import Context

EVERY = 3600.0
LOGS = ("web", "worker", "netd")


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
            news.prune(self._ctx)
            if days := self._ctx.config.keep_audit_days:
                sealing.truncate(self._ctx, days)
            remove_logs(self._ctx.config.home / "log", time.time() - self._ctx.config.keep_logs_days * 86_400)


def remove_logs(folder: Path, before: float) -> None:
    """What svlogd has rotated and last changed before a time (seconds since 1970); the file in use stays."""
    for path in (path for name in LOGS for path in (folder / name).glob("@*")):
        try:
            if path.stat().st_mtime < before:
                path.unlink()
        except FileNotFoundError:  # svlogd removes some, too
            continue
