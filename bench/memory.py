"""`memory.idle`: what our three processes hold while nothing happens."""

from __future__ import annotations

import re
import time
from pathlib import Path

from bench.record import Figure, benchmark
from bench.running import running

SETTLE_SECONDS = 5.0
SAMPLES = 5
PSS = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)


def pss_mb(pid: int) -> float:
    """Proportional set size in MB (1e6 bytes), as /proc/PID/smaps_rollup has it."""
    found = PSS.search(Path(f"/proc/{pid}/smaps_rollup").read_text())
    return int(found[1]) * 1024 / 1e6 if found else 0.0


@benchmark("memory.idle")
def idle() -> Figure:
    """web, worker and netd together; dnsmasq, libvirt and QEMU apart."""
    garage = running()
    time.sleep(SETTLE_SECONDS)
    samples = []
    for _ in range(SAMPLES):
        samples.append({name: pss_mb(pid) for name, pid in garage.processes().items()})
        time.sleep(1)
    median = sorted(samples, key=lambda sample: sum(sample.values()))[SAMPLES // 2]
    note = ", ".join(f"{name} {value:.0f}" for name, value in median.items())
    return Figure("memory.idle", sum(median.values()), "MB", SAMPLES, f"PSS: {note}")
