"""A witness of the server itself: when it stood still for so long that what has to answer in time could not have answered."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Self

EVERY = 0.05
LONG = 0.45
"""Seconds between two looks that are a stall: half of what BFD waits (300 ms x 3)."""
LOOK = f"""
import time
last = time.monotonic()
while True:
    time.sleep({EVERY})
    now = time.monotonic()
    if now - last > {LONG}:
        print(last, now, flush=True)
    last = now
"""


class Stalls:
    """A process that only sleeps and looks at the clock."""

    def __init__(self, log: Path) -> None:
        self._log = log
        with log.open("wb") as out:
            self._process = subprocess.Popen([sys.executable, "-c", LOOK], stdout=out)

    @property
    def pid(self) -> int:
        return self._process.pid

    def since(self, at: float) -> list[tuple[float, float]]:
        """Stalls that ended after `at`, monotonic seconds: from when to when."""
        rows = [line.split() for line in self._log.read_text().splitlines()]
        return [(float(begin), float(end)) for begin, end in rows if float(end) > at]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
