"""Calls that must end: each in a thread of its own, which is left behind when it does not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
MAX_HUNG = 8
"""So many calls may hang at the same time; further ones are refused at once, so that threads do not pile up."""


class _Box(Generic[T]):
    """What the thread leaves: a value or an exception."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.value: T | None = None
        self.error: BaseException | None = None


class Deadline:
    """Runs blocking calls for at most some seconds; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hung = 0

    def run(self, work: Callable[[], T], seconds: float) -> T:
        """`work`'s value or exception; TimeoutError when it takes longer or too many calls hang already."""
        with self._lock:
            if self._hung >= MAX_HUNG:
                raise TimeoutError
        box: _Box[T] = _Box()
        threading.Thread(target=self._work, args=(work, box), name="call", daemon=True).start()
        if not box.done.wait(seconds):
            with self._lock:
                if not box.done.is_set():
                    self._hung += 1
                    box.error = TimeoutError()
                    raise TimeoutError
        if box.error is not None:
            raise box.error
        return box.value  # type: ignore[return-value]

    def _work(self, work: Callable[[], T], box: _Box[T]) -> None:
        try:
            value, error = work(), None
        except BaseException as raised:  # noqa: BLE001  (handed to the caller)
            value, error = None, raised
        with self._lock:
            if box.error is not None:
                self._hung -= 1
            else:
                box.value, box.error = value, error
            box.done.set()
