"""Deaths on order: with GARAGE_FAILPOINT=N in its environment a worker sends itself SIGKILL before its N-th step (the first is 1).

A step is a change of a plan, the middle of one that has two effects, or the moment after the last one of a list; so N = 1, 2, 3 …
visits every gap between two effects.
Without the variable this is one comparison.
"""

from __future__ import annotations

import itertools
import os
import signal

_fatal = int(os.environ.get("GARAGE_FAILPOINT", "0"))
_count = itertools.count(1)


def step() -> None:
    if _fatal and next(_count) >= _fatal:
        os.kill(os.getpid(), signal.SIGKILL)
