"""Threads that decode a shape for the first time at once: a process of its own, since the failure is its death."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys, threading
from netd import wire
sys.setswitchinterval(1e-5)
shapes = [getattr(wire, name) for name in wire.__all__ if hasattr(getattr(wire, name), "__struct_fields__")]
assert len(shapes) > 10
barrier = threading.Barrier(3)
def first():
    for shape in shapes:
        barrier.wait()
        for field in reversed(shape.__struct_fields__):
            try:
                wire.decode(b'{"%s": [{}]}' % field.encode(), shape)
            except wire.SpecError:
                pass
threads = [threading.Thread(target=first) for _ in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
TRIES = 8


def test_first_decodings_in_threads_are_safe() -> None:
    for _ in range(TRIES):
        assert (
            subprocess.run([sys.executable, "-c", CODE], capture_output=True, check=False, timeout=60).returncode == 0
        )
