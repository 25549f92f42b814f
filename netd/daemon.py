"""`netd run`: come up from the last good spec, then follow the controller; go on without it."""

from __future__ import annotations

import logging
import signal
import time
from pathlib import Path

from netd.config import Config
from netd.errors import NetdError
from netd.node import Node
from netd.shell.controller import Controller
from netd.shell.kernel import has_ipv6_uplink
from netd.wire import Refusal, Report, SpecError

log = logging.getLogger(__name__)
WAIT = 5.0
"""Seconds of one long-poll; between two of them daemons, uplinks and policy files are looked at."""
REPORT_EVERY = 10.0
BACKOFF = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds between tries while the controller is away."""


class Daemon:
    """The loop. It ends on SIGTERM and leaves bridge, rules and daemons in force."""

    def __init__(self, config: Config) -> None:
        self.node = Node(config)
        self._controller = Controller(config)
        self._config = config
        self._refusal: Refusal | None = None
        self._failures = 0
        self._reported = 0.0
        self._stop = False

    def run(self) -> None:
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGINT, self._end)
        self.node.restore()
        log.info("version %s in force", self.node.version)
        while not self._stop:
            self._round()

    def _end(self, *_: object) -> None:
        self._stop = True
        self._controller.close()

    def _round(self) -> None:
        try:
            if time.monotonic() - self._reported >= REPORT_EVERY:
                self._report()
            if (sealed := self._controller.fetch(self._after(), WAIT)) is not None:
                self._take(sealed)
                self._report()
            else:
                self._refresh()
            self._failures = 0
        except NetdError as error:
            if not self._stop:
                self._wait(error)

    def _after(self) -> int:
        """A refused version is not asked for again."""
        return max(self.node.version, self._refusal.version if self._refusal else 0)

    def _take(self, sealed: bytes) -> None:
        try:
            self.node.take(sealed)
            self._refusal = None
        except SpecError as error:
            log.warning("spec refused: %s: %s", error.code, error.text)
            self._refusal = Refusal(version=error.version, code=error.code, text=error.text[:2000])
            time.sleep(
                0 if error.version else WAIT
            )  # without a version to wait beyond, the same spec comes again at once

    def _refresh(self) -> None:
        if changes := self.node.refresh():
            log.warning("brought back to version %s: %s changes", self.node.version, len(changes))

    def _report(self) -> None:
        self._controller.report(
            Report(
                node=self._config.node,
                applied_version=self.node.version,
                refusal=self._refusal,
                boot_id=Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
                ipv6_uplink=has_ipv6_uplink(),
                problems=self.node.problems(),
            )
        )
        self._reported = time.monotonic()

    def _wait(self, error: NetdError) -> None:
        delay = BACKOFF[min(self._failures, len(BACKOFF) - 1)]
        self._failures += 1
        level = logging.WARNING if self._failures in (1, 5) or error.code != "controller" else logging.DEBUG
        log.log(level, "%s; next try in %s s", error, delay)
        time.sleep(delay)
        if error.code == "controller":
            self._try_refresh()

    def _try_refresh(self) -> None:
        """Without a controller the last good spec is kept up all the same."""
        try:
            self._refresh()
        except NetdError as error:
            log.warning("%s", error)
