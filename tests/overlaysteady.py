"""A traffic that must not notice what happens beside it: echoes from before the first test to after the last one."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

EVERY = 0.05
SETTLE = 0.15
"""Seconds between looks."""
BACK = 2.0
"""Seconds in which an echo's answer is back, or lost; others may come before it."""


class Steady:
    """`lost()` after each event."""

    def __init__(self, inside: Callable[[Sequence[str]], list[str]], address: str, log: Path) -> None:
        """`inside` turns a command into one that runs where the echoes come from."""
        self._log, self._known = log, 0
        with log.open("wb") as out:
            argv = inside(["ping", "-n", "-i", str(EVERY), address])
            self._process = subprocess.Popen(argv, stdout=out, stderr=out)

    def lost(self) -> list[int]:
        """Numbers of the echoes without an answer since the last call; those on their way are waited for."""
        before, until = max(self._answered(), default=0), time.monotonic() + 10
        time.sleep(SETTLE)
        while (last := max(self._answered(), default=0)) <= before and time.monotonic() < until:
            time.sleep(SETTLE)
        until = time.monotonic() + BACK
        while (found := set(range(self._known + 1, last)) - self._answered()) and time.monotonic() < until:
            time.sleep(SETTLE)
        self._known = max(self._known, last - 1)
        return sorted(found) if last > before else [*sorted(found), last + 1]

    def _answered(self) -> set[int]:
        return set(map(int, re.findall(r"icmp_seq=(\d+) ttl", self._log.read_text(errors="replace"))))

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
