"""A node's images: what is there, and copying one as soon as a machine wants it. Several at once, each on a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from garage.core import copies as core
from garage.core.hypervisor_types import CopiedImages, Images
from garage.errors import GarageError
from garage.services import copies, images
from garage.services.context import Context
from garage.services.work import Hold

log = logging.getLogger(__name__)
TELL_EVERY = 3.0
"""Seconds between two figures of progress: each is a write."""
AGAIN = 2.0
"""Seconds until a source is asked for again."""
AGAIN_MOST = 60.0


class ImageKeeper:
    """Asked by the node's thread; `ring` wakes it."""

    def __init__(self, ctx: Context, store: Images, ring: Callable[[], None]) -> None:
        self._ctx, self._images, self._ring = ctx, store, ring
        self._lock = threading.Lock()
        self._present: frozenset[str] = frozenset()
        self._percent: dict[str, int] = {}
        """Of those that are wanted and not here."""
        self._hold: Hold | None = None
        self._closed = threading.Event()

    def look(self, hold: Hold) -> None:
        """See what is there, and say so."""
        present = self._images.present()
        if isinstance(self._images, CopiedImages):  # of the controller's own server another thread does
            for image in images.condemned(self._ctx, present):
                self._images.remove(image)
                present -= {image}
        with self._lock:
            self._hold, self._present = hold, present
        copies.note(self._ctx, hold, present)

    def percent(self, image: str) -> int:
        """100 when it is there; else it is being copied from now on. Of a node that does not copy always 100: what is missing there is told
        by whoever needs it."""
        if not isinstance(self._images, CopiedImages):
            return 100
        with self._lock:
            if image in self._present:
                return 100
            if image not in self._percent:
                self._percent[image] = 0
                threading.Thread(target=self._copy, args=(image,), name=f"image-{image[:8]}", daemon=True).start()
            return self._percent[image]

    def close(self) -> None:
        self._closed.set()

    def _copy(self, image: str) -> None:
        """Until it is there."""
        pause = AGAIN
        while not self._closed.is_set():
            try:
                if self._attempt(image):
                    break
                pause = AGAIN
            except GarageError as error:
                log.warning("image %s: %s", image[:12], error)
                pause = min(AGAIN_MOST, pause * 2)
            except Exception:
                log.exception("image %s: an error of ours", image[:12])
                pause = AGAIN_MOST
            self._closed.wait(pause)
        with self._lock:
            self._percent.pop(image, None)
        self._ring()

    def _attempt(self, image: str) -> bool:
        """False when no source was free, or this worker no longer owns the node's work."""
        hold = self._hold
        errand = copies.begin(self._ctx, hold, image) if hold else None
        if errand is None or hold is None or not isinstance(self._images, CopiedImages):
            return False
        log.info("image %s: from %s", image[:12], errand.source.name)
        try:
            self._images.fetch(errand.order, errand.source, self._teller(hold, image))
        except GarageError as error:
            copies.finish(self._ctx, hold, image, error)
            raise
        copies.finish(self._ctx, hold, image, None)
        with self._lock:
            self._present |= {image}
        return True

    def _teller(self, hold: Hold, image: str) -> Callable[[int, int], None]:
        last = 0.0

        def told(done: int, total: int) -> None:
            nonlocal last
            self._percent[image] = core.percent(done, total)
            if time.monotonic() - last >= TELL_EVERY:
                last = time.monotonic()
                copies.progress(self._ctx, hold, image, done, total)
                self._ring()

        return told
