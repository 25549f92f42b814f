"""Writes what became of machines: notes of all effects that end at the same time go into one transaction."""

from __future__ import annotations

import logging
import queue
import threading
from concurrent.futures import Future

from garage.errors import GarageError
from garage.services import work
from garage.services.context import Context
from garage.services.work import Hold, Note

log = logging.getLogger(__name__)
MAX_BATCH = 256
Item = tuple[Hold, Note, Future[bool]]


class Recorder:
    """One thread that commits batches. `put` is safe from any thread."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._items: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def put(self, hold: Hold, note: Note) -> Future[bool]:
        """Its result: True when written, False when stale; `version_conflict` when the hold is lost."""
        future: Future[bool] = Future()
        self._items.put((hold, note, future))
        return future

    def close(self) -> None:
        """Returns when everything put before is written."""
        self._items.put(None)
        self._thread.join(timeout=15)

    def _run(self) -> None:
        while True:
            batch, last = self._take()
            for hold in {item[0] for item in batch}:
                self._write(hold, [item for item in batch if item[0] == hold])
            if last:
                return

    def _take(self) -> tuple[list[Item], bool]:
        """All that waits, at least one; True as well when it is the end."""
        batch: list[Item] = []
        item = self._items.get()
        while item is not None:
            batch.append(item)
            if len(batch) >= MAX_BATCH or self._items.empty():
                return batch, False
            item = self._items.get()
        return batch, True

    def _write(self, hold: Hold, items: list[Item]) -> None:
        try:
            results = work.record(self._ctx, hold, [note for _, note, _ in items])
        except Exception as error:
            if not isinstance(error, GarageError):
                log.exception("notes of %s cannot be written", hold.node)
            for _, _, future in items:
                future.set_exception(error)
            return
        for (_, _, future), result in zip(items, results, strict=True):
            future.set_result(result)
