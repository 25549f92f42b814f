"""Signs of life of a worker that waits for something long."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def saying(alive: Callable[[], None], seconds: float) -> Iterator[None]:
    """Call `alive` every so many seconds meanwhile. What it raises is no reason to end: whoever works notices with their own next word."""
    end = threading.Event()

    def tell() -> None:
        while not end.wait(seconds):
            with contextlib.suppress(Exception):
                alive()

    thread = threading.Thread(target=tell, name="signs-of-life", daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
