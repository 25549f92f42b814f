"""The witness of a server that stood still."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from tests.stalls import LONG, Stalls


def test_a_stall_is_witnessed(tmp_path: Path) -> None:
    with Stalls(tmp_path / "log") as stalls:
        time.sleep(0.5)
        began = time.monotonic()
        os.kill(stalls.pid, signal.SIGSTOP)
        time.sleep(2 * LONG)
        os.kill(stalls.pid, signal.SIGCONT)
        until = time.monotonic() + 20
        while not (seen := stalls.since(began)) and time.monotonic() < until:
            time.sleep(0.05)
        assert [end - begin for begin, end in seen if end - begin > 1.5 * LONG and begin < began + LONG]
        assert stalls.since(time.monotonic()) == []
