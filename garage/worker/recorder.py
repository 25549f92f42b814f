"""Writes what became of machines: notes of all effects that end at the same time, on whatever nodes, go into one transaction."""

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
            batches: dict[Hold, list[Item]] = {}
            for item in batch:
                batches.setdefault(item[0], []).append(item)
            if not self._write(batches):
                for hold, items in batches.items():  # one of them is to blame, and only that one fails
                    self._write({hold: items}, alone=True)
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

    def _write(self, batches: dict[Hold, list[Item]], *, alone: bool = False) -> bool:
        """All in one transaction; False when it failed and several nodes are concerned: nothing was told to anybody."""
        try:
            done = work.record_all(self._ctx, {hold: [note for _, note, _ in items] for hold, items in batches.items()})
        except Exception as error:
            if len(batches) > 1 and not alone:
                return False
            if not isinstance(error, GarageError):
                log.exception("notes cannot be written")
            for _, _, future in (item for items in batches.values() for item in items):
                future.set_exception(error)
            return True
        for hold, results in done.items():
            for number, (_, _, future) in enumerate(batches[hold]):
                if isinstance(results, GarageError):
                    future.set_exception(results)
                else:
                    future.set_result(results[number])
        return True
