"""`node.silent`: how soon a worker hears of a node that falls silent, from libvirt's keepalive alone (netd's reports are the other way)."""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path

from bench.record import Figure, benchmark
from tests.remotelab import RemoteLab, remote_lab

SCHEMES = ("qemu+ssh", "qemu+tls")
IDLE_SECONDS = 1.0
"""Until TCP has acknowledged everything: what the node's own libvirt says then still comes when it no longer hears."""
GIVEN_UP = 60.0


@benchmark("node.silent")
def silent() -> Figure:
    """The worst of both schemes; the node is off the network, or only no longer hears."""
    with tempfile.TemporaryDirectory(prefix="garage-bench-") as folder, remote_lab(Path(folder)) as lab:
        off, deaf = _noticed(lab, deaf=False), _noticed(lab, deaf=True)
    listed = ", ".join(f"{scheme} {a:.1f} s and {b:.1f} s" for scheme, a, b in zip(SCHEMES, off, deaf, strict=True))
    return Figure("node.silent", max(*off, *deaf), "s", 4, f"off the network, and only deaf: {listed}; limit 15 s")


def _noticed(lab: RemoteLab, *, deaf: bool) -> list[float]:
    """Seconds from the cut, by scheme."""
    heard = [threading.Event() for _ in SCHEMES]
    for scheme, event in zip(SCHEMES, heard, strict=True):
        hypervisor = lab.hypervisor("two", scheme)
        hypervisor.listen(lambda machine_id, event=event: None if machine_id else event.set())  # type: ignore[misc]
        hypervisor.observe()
    time.sleep(IDLE_SECONDS)
    lab.servers["two"].cut(deaf=deaf)
    began, times = time.monotonic(), [GIVEN_UP] * len(heard)
    waiting = [threading.Thread(target=_time, args=(event, began, times, at)) for at, event in enumerate(heard)]
    for thread in waiting:
        thread.start()
    for thread in waiting:
        thread.join()
    lab.servers["two"].cut(on=False)
    lab.clear()
    return times


def _time(event: threading.Event, began: float, times: list[float], at: int) -> None:
    if event.wait(GIVEN_UP):
        times[at] = time.monotonic() - began
