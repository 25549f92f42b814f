"""Keeping the queue of each line whose rate is known on this server, control traffic first; what others see of it is a link that does
not go down while the line is full."""

from __future__ import annotations

import logging
import time

from netd.core.lines import Line
from netd.core.overlay import interface
from netd.core.shaping import Job, Shape, jobs, queue_name
from netd.core.wanted import Wanted
from netd.errors import NetdError
from netd.overlay import Overlay
from netd.shell import kernel, shaping
from netd.ways import Ways

log = logging.getLogger(__name__)
LOOK_EVERY = 5.0
DOUBT_EVERY = 60.0
AGAIN = 30.0
"""Seconds after a failure."""


class Lines:
    """One per daemon; `netd.following.Part`."""

    def __init__(self, overlay: Overlay, lines: tuple[Line, ...], ways: Ways) -> None:
        self._overlay, self._lines, self._ways = overlay, lines, ways
        self._tc = shaping.Tc(overlay.config.state_dir)
        self._looked = self._doubted = -DOUBT_EVERY
        self._trouble = ""

    def follow(self, wanted: Wanted) -> None:
        now = time.monotonic()
        if now - self._looked < (AGAIN if self._trouble else LOOK_EVERY):
            return
        self._looked = now
        try:
            self._shape(self._jobs(wanted), now)
            self._trouble = ""
        except NetdError as error:
            self._trouble = f"control traffic does not go first: {error}"
            log.warning("%s", self._trouble)

    def problems(self) -> tuple[str, ...]:
        return (self._trouble,) if self._trouble else ()

    def _jobs(self, wanted: Wanted) -> list[Job]:
        if not any(line.rate_mbit for line in self._lines):
            return []
        if lacks := shaping.missing():
            raise NetdError("tool", f"this kernel lacks one of {lacks}")
        self._ways.follow(wanted)
        found = [self._of(wanted, number, line) for number, line in enumerate(self._lines) if line.rate_mbit]
        return jobs([shape for shape in found if shape is not None], shaping.leaf())

    def _of(self, wanted: Wanted, number: int, line: Line) -> Shape | None:
        device, member = line.device or kernel.default_device(), self._overlay.member
        if device is None or member is None:
            return None
        links = sorted(number for number, way in self._ways.known.items() if way.line == line)
        return Shape(
            queue_name(wanted.instance, number),
            device,
            line.rate_mbit,
            tuple(interface(wanted.instance, link) for link in links),
            range(member.port, member.port + member.ports),
            kernel.networks_of(device),
        )

    def _shape(self, wanted: list[Job], now: float) -> None:
        if now - self._doubted >= DOUBT_EVERY:
            self._doubted = now
            self._tc.doubt(wanted)
        if changes := self._tc.follow(wanted):
            log.info("lines: %s changes: %s", len(changes), "; ".join(changes)[:200])
