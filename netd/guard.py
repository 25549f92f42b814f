"""Rules that somebody deletes come back at once, not at the loop's next look: until then machines would reach everything."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from netd.errors import NetdError

log = logging.getLogger(__name__)
AGAIN = 0.5
"""Seconds after which what could not be put right is tried again; the loop looks too, every few seconds."""


class Events(Protocol):
    def wait(self) -> None: ...


def watch(events: Events, refresh: Callable[[], Sequence[object]]) -> None:
    """Start the thread; it ends with the process. `refresh` looks at all and mends what differs."""
    threading.Thread(target=_for_ever, args=(events, refresh), name="guard", daemon=True).start()


def _for_ever(events: Events, refresh: Callable[[], Sequence[object]]) -> None:
    while True:
        try:
            events.wait()
            if changes := refresh():
                log.warning("rules were deleted by somebody else; %s changes brought them back", len(changes))
        except (NetdError, OSError) as error:
            log.warning("rules were deleted and are not back: %s", error)
            time.sleep(AGAIN)
