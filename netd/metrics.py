"""A node's own series for Prometheus: a file that the node exporter's textfile collector reads (docs/overlay.md)."""

from __future__ import annotations

import time
from pathlib import Path

from netd.core.metrics_text import render
from netd.core.wanted import Wanted
from netd.shell import files
from netd.wire import LinkReport

FILE = "metrics.prom"


class Metrics:
    """Writes `metrics.prom` in the state folder, whole or not at all; readable by everybody: it holds no secret."""

    def __init__(self, state: Path) -> None:
        self.path = state / FILE

    def write(self, wanted: Wanted, said: LinkReport) -> None:
        """At each report, whether the registry hears it or not."""
        files.write(self.path, render(wanted.spec, said, time.time()))

    def remove(self) -> None:
        """A node outside of any overlay has no series."""
        self.path.unlink(missing_ok=True)
