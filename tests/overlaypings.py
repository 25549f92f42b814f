"""Echoes: a few, to see who answers; or all along, to count what an event costs those whom it does not concern."""

from __future__ import annotations

import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence

Inside = Callable[[Sequence[str]], list[str]]
"""Turns a command into one that runs where the echoes come from."""
EVERY = 0.05
BEFORE, AFTER = 0.5, 1.5
"""Seconds of echoes around what happens."""
IN_FLIGHT = 20
"""Echoes of one second, which may be on their way when ping is told to end: sent after all that happened, they tell nothing of it."""
assert IN_FLIGHT * EVERY < AFTER


def answered(inside: Inside, address: str, count: int, seconds: float) -> int:
    """How many of so many echoes, 0.2 s apart, were answered within `seconds` each.

    By fping: ping(8) is content with one answer of many, and waits for the last one no longer than two round trips.
    """
    argv = inside(["fping", "-q", "-c", str(count), "-p", "200", "-t", str(round(seconds * 1000)), address])
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    found = re.search(r"xmt/rcv/%loss = \d+/(\d+)/", done.stderr)
    return int(found[1]) if found else 0  # nothing is said where there is no route


class Pings:
    """Twenty a second while something happens: `with Pings(...) as pings: …`, then `pings.lost`."""

    def __init__(self, inside: Inside, address: str) -> None:
        self._argv = inside(["ping", "-n", "-D", "-i", str(EVERY), address])
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115  (a pipe would be full after half a minute, and ping stand still)
        self.lost = self.sent = -1
        self.text = ""
        self.times: list[float] = []
        """When each answer came, seconds since 1970."""

    def __enter__(self) -> Pings:
        self._process = subprocess.Popen(self._argv, stdout=self._said, stderr=subprocess.STDOUT)
        time.sleep(BEFORE)
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(AFTER)
        self._process.send_signal(signal.SIGINT)
        self._process.wait(timeout=10)
        with self._said as said:
            said.seek(0)
            text = said.read()
        sent = int(re.search(r"(\d+) packets transmitted", text).group(1))  # type: ignore[union-attr]
        back = set(map(int, re.findall(r"icmp_seq=(\d+) ttl", text)))
        self.sent, self.text = sent, text
        self.lost = len(set(range(1, sent - IN_FLIGHT + 1)) - back)
        self.times = [float(found) for found in re.findall(r"^\[([0-9.]+)\] \d+ bytes", text, re.M)]
