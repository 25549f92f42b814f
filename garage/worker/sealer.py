"""Has what was audited sealed within a second, by whichever worker comes first."""

from __future__ import annotations

import logging
import threading

from garage.services import sealing
from garage.services.context import Context

log = logging.getLogger(__name__)
EVERY = 0.3
"""Seconds between two looks: a burst of entries costs a few transactions more, not one each; a look without news reads two indexes."""


class Sealer:
    """On a thread of its own: with a thousand nodes the worker's look at all of them takes longer than an entry may wait."""

    def __init__(self, ctx: Context) -> None:
        self._ctx, self._ended = ctx, threading.Event()
        self._thread = threading.Thread(target=self._run, name="sealer", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(EVERY):
            try:
                while sealing.seal(self._ctx) and not self._ended.is_set():
                    pass
            except Exception as error:  # noqa: BLE001  (a database that is away must not end it)
                log.warning("nothing is sealed: %s", error)

    def end(self) -> None:
        self._ended.set()
        self._thread.join()
