"""A simulated node's domains and disks in a file, which several processes may have open: what one does, the others see.

Beside it, `NAME.faults` (JSON, fields of `fake_settings.Faults`) breaks the node from outside for as long as it is there.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

Mark = tuple[int, int]
NEVER: Mark = (0, 0)


class Store:
    """One file. Used under its hypervisor's own lock."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._lock = path, path.with_name(f"{path.name}.lock")
        self._faults = path.with_name(f"{path.name}.faults")
        self._seen, self._broken = NEVER, NEVER

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other process changes the file meanwhile."""
        with self._lock.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def news(self) -> dict[str, Any] | None:
        """What the file holds, when another process changed it since this one last read or wrote it."""
        if (mark := _mark(self._path)) == self._seen:
            return None
        self._seen = mark
        found: dict[str, Any] = json.loads(self._path.read_text()) if mark != NEVER else {}
        return found

    def faults(self) -> dict[str, Any] | None:
        """The faults that are wanted now, when that changed."""
        if (mark := _mark(self._faults)) == self._broken:
            return None
        self._broken = mark
        with suppress(FileNotFoundError):
            found: dict[str, Any] = json.loads(self._faults.read_text())
            return found
        return {}

    def save(self, content: dict[str, Any]) -> None:
        draft = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        draft.write_text(json.dumps(content))
        draft.rename(self._path)
        self._seen = _mark(self._path)


def _mark(path: Path) -> Mark:
    """Another one for each content: drafts are new files."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return NEVER
    return found.st_ino, found.st_mtime_ns
