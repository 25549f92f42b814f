"""Echoes all along, to count what an event costs those whom it does not concern."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Callable, Sequence

IN_FLIGHT = 3
"""Echoes of 0.15 s, which may be on their way when ping is told to end."""


class Pings:
    """Twenty a second while something happens: `with Pings(...) as pings: …`, then `pings.lost`."""

    def __init__(self, inside: Callable[[Sequence[str]], list[str]], address: str) -> None:
        """`inside` turns a command into one that runs where the echoes come from."""
        self._argv = inside(["ping", "-n", "-D", "-i", "0.05", "-W", "1", address])
        self.lost = self.sent = -1
        self.text = ""
        self.times: list[float] = []
        """When each answer came, seconds since 1970."""

    def __enter__(self) -> Pings:
        self._process = subprocess.Popen(self._argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        time.sleep(0.5)
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(0.5)
        self._process.send_signal(signal.SIGINT)
        text, _ = self._process.communicate(timeout=10)
        sent = int(re.search(r"(\d+) packets transmitted", text).group(1))  # type: ignore[union-attr]
        answered = set(map(int, re.findall(r"icmp_seq=(\d+) ttl", text)))
        self.sent, self.text = sent, text
        self.lost = len(set(range(1, sent - IN_FLIGHT + 1)) - answered)
        self.times = [float(found) for found in re.findall(r"^\[([0-9.]+)\] \d+ bytes", text, re.M)]
