"""What a lab's `up` says while it works: a line per step with its seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


class Progress:
    """`with progress.step("nagoya") as tell: …; tell("joined")`. A terminal shows the step that is under way."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._stream, self.began = stream, time.monotonic()
        self._live = stream.isatty()

    @contextmanager
    def step(self, name: str) -> Iterator[list[str]]:
        """What is appended to the list is said at the end; a step that fails says no seconds."""
        said: list[str] = []
        began = time.monotonic()
        if self._live:
            self._write(f"     …    {name}")
        try:
            yield said
        except BaseException:
            self._write(f"{self._back()}  failed  {name}\n")
            raise
        self._write(f"{self._back()}{time.monotonic() - began:6.1f} s  {name:14} {', '.join(said)}".rstrip() + "\n")

    def _back(self) -> str:
        return "\r\033[K" if self._live else ""

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
