"""Keeping the overlay's own processes ahead of machines when all cores are busy: a link whose BFD waits for a core goes down.

A real-time scheduling class would do more than is needed, and netd's own unit forbids it (RestrictRealtime=).
"""

from __future__ import annotations

import logging
import os
import time

from netd.core.wanted import Wanted
from netd.overlay import Overlay
from netd.shell import priority
from netd.shell.routes import RUN

log = logging.getLogger(__name__)
ROUTES, TUNNELS = -15, -10
"""Nice values: BGP and BFD before what carries them, both before the rest of the server."""
LOOK_EVERY = 5.0


class Priorities:
    """One per daemon; `netd.following.Part`. What is adopted gets its place, too."""

    def __init__(self, overlay: Overlay) -> None:
        self._folder = overlay.home.path
        self._looked = -LOOK_EVERY
        self._allowed = True

    def follow(self, wanted: Wanted) -> None:
        now = time.monotonic()
        if not self._allowed or now - self._looked < LOOK_EVERY:
            return
        self._looked = now
        space = f"garage_{wanted.instance}"
        places = [(number, ROUTES) for number in priority.of_pid_files(RUN / space, "*.pid", space)]
        links = f"gl{wanted.instance}"
        places += [(number, TUNNELS) for number in priority.of_pid_files(self._folder, f"{links}*.pid", links)]
        self._put([*places, (os.getpid(), TUNNELS)])

    def problems(self) -> tuple[str, ...]:
        return ()

    def _put(self, places: list[tuple[int, int]]) -> None:
        try:
            for number, nice in places:
                priority.prefer(number, nice)
        except PermissionError:
            self._allowed = False
            log.warning("links may go down while all cores are busy: this server does not let netd set nice values")
