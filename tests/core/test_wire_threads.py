"""Threads that decode a shape for the first time at once: a process of its own, since the failure is its death."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys, threading
from netd import wire
sys.setswitchinterval(1e-6)
shapes = [getattr(wire, name) for name in wire.__all__ if hasattr(getattr(wire, name), "__struct_fields__")]
assert len(shapes) > 10
barrier = threading.Barrier(8)
def first():
    for shape in shapes:
        barrier.wait()
        try:
            wire.decode(b"{}", shape)
        except wire.SpecError:
            pass
threads = [threading.Thread(target=first) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
TRIES = 5


def test_first_decodings_in_threads_are_safe() -> None:
    for _ in range(TRIES):
        assert (
            subprocess.run([sys.executable, "-c", CODE], capture_output=True, check=False, timeout=60).returncode == 0
        )
