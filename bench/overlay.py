"""`overlay.poll`: what one poll without news costs a registry of 1,000 sites, over TLS and between all others' reports."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from bench.memory import pss_mb
from bench.record import Figure, benchmark
from bench.simulated import CREDENTIAL, REPORT_EVERY, SITES
from netd.shell.registry import Registry

POLLS, EVERY = 600, 0.1
"""A minute: the registry writes down every half minute that a node is there, and its measurements once a minute."""
SETTLE_SECONDS = 12.0


@benchmark("overlay.poll")
def poll() -> Figure:
    """A registry in a process of its own, 999 nodes in another, which hold long-polls and report; the last one asks as netd does."""
    with (
        tempfile.TemporaryDirectory(prefix="garage-bench-") as folder,
        _process("serve", folder) as server,
    ):
        at = json.loads(_line(server))
        with _process("load", at["url"], str(at["serial"]), str(at["table"])) as load:
            assert _line(load) == "ready"
            time.sleep(SETTLE_SECONDS)
            node = Registry(at["url"], bytes.fromhex(at["pin"]), CREDENTIAL.format(0))
            times = [_poll(node, at) for _ in range(POLLS)]
            before, began = pss_mb(server.pid), time.perf_counter()
            node.leave()
            reports, wake = int(_line(load)), time.perf_counter() - began
            after = pss_mb(server.pid)
    note = (
        f"TLS; p95 {statistics.quantiles(times, n=20)[18] * 1000:.1f} ms; {SITES} sites: {SITES - 1} hold a long-poll and report "
        f"every {REPORT_EVERY:.0f} s ({reports} reports in all), each over connections that are kept; registry's process "
        f"{before:.0f} MB PSS, {after:.0f} MB after all took a new table within {wake:.1f} s"
    )
    return Figure("overlay.poll", statistics.median(times) * 1000, "ms", POLLS, note)


def _poll(node: Registry, at: dict[str, Any]) -> float:
    time.sleep(EVERY)
    began = time.perf_counter()
    assert node.fetch(at["serial"], at["table"], 0) is None
    return time.perf_counter() - began


@contextlib.contextmanager
def _process(*words: str) -> Iterator[subprocess.Popen[str]]:
    argv = [sys.executable, "-m", "bench.simulated", *words]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=sys.stderr, text=True, env=dict(os.environ))
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()
