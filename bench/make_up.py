"""`make_up.again`: `make up` where nothing is to do."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from bench.record import Figure, benchmark
from bench.running import running

RUNS = 5


@benchmark("make_up.again")
def again() -> Figure:
    """Wall clock from the shell's point of view; the median."""
    garage = running()
    garage.make("up")
    seconds = [_timed(lambda: garage.make("up")) for _ in range(RUNS)]
    return Figure("make_up.again", statistics.median(seconds), "s", RUNS, f"{min(seconds):.2f} to {max(seconds):.2f}")


def _timed(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
