"""What one sees: a live line per running step on a terminal, plain lines without control characters otherwise."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from types import TracebackType
from typing import TextIO

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
PLAIN_EVERY = 15.0
"""Seconds between two plain lines of one step."""


class Screen:
    """Steps begin, tell what they do, and end; from several threads."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self._live = out.isatty()
        self._lock = threading.RLock()
        self._running: dict[str, tuple[float, str]] = {}
        self._told: dict[str, float] = {}
        self._drawn = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Screen:
        if self._live:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        with self._lock:
            self._running.clear()
            self._erase()

    def begin(self, name: str) -> None:
        with self._lock:
            self._running[name] = (time.monotonic(), "")
            self._told[name] = time.monotonic()
            if not self._live:
                self.line(f"  …   {name}")

    def tell(self, name: str, text: str) -> None:
        """What a step does at the moment; shown live, or now and then."""
        with self._lock:
            started, _ = self._running.get(name, (time.monotonic(), ""))
            self._running[name] = (started, text)
            if not self._live and time.monotonic() - self._told.get(name, 0.0) > PLAIN_EVERY:
                self._told[name] = time.monotonic()
                self.line(f"  …   {name:<12} {text[:100]}")

    def end(self, name: str, seconds: float, result: str = "") -> None:
        with self._lock:
            self._running.pop(name, None)
            self.line(f"  {'✓' if self._live else 'ok'}  {name:<12} {seconds:6.1f} s  {result}".rstrip())

    def line(self, text: str = "") -> None:
        """A line that stays."""
        with self._lock:
            self._erase()
            print(text, file=self._out, flush=True)

    def _tick(self) -> None:
        while not self._stop.wait(0.1):
            with self._lock:
                self._erase()
                self._draw()

    def _draw(self) -> None:
        width = shutil.get_terminal_size().columns - 1
        now = time.monotonic()
        for name, (started, text) in self._running.items():
            sign = SPINNER[int(now * 10) % len(SPINNER)]
            self._out.write(f"  {sign}  {name:<12} {now - started:6.1f} s  {text}"[:width] + "\n")
            self._drawn += 1
        self._out.flush()

    def _erase(self) -> None:
        if self._drawn:
            self._out.write(f"\x1b[{self._drawn}A\x1b[J")
            self._drawn = 0
