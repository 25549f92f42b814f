"""`netd run`: come up from the last good spec, then follow the controller; go on without it."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from pathlib import Path

from netd import guard
from netd.config import Config
from netd.errors import NetdError
from netd.following import Following
from netd.node import Node
from netd.parts import make_overlay_of, make_parts_of
from netd.prober import Prober
from netd.shell.controller import Controller
from netd.shell.kernel import has_uplink
from netd.shell.nft_events import Deletions
from netd.wire import Refusal, Report, SpecError

log = logging.getLogger(__name__)
WAIT = 5.0
"""Seconds of one long-poll; between two of them daemons, uplinks and policy files are looked at."""
REPORT_EVERY = 4.5
"""Below `WAIT`: every round reports, so that a controller who has heard nothing for ten seconds has missed two."""
BACKOFF = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds between tries while the controller is away."""
NAME_EVERY = 0.25
"""Seconds between looks at the name that the registry gave this site."""
RETRY_REFUSED = 30.0
"""Seconds after which a refused spec is asked for again: an admin may have mended what stood against it."""


class _EndedError(Exception):
    """SIGTERM came while nothing was being done."""


class Daemon:
    """The loop. It ends on SIGTERM and leaves bridge, rules and daemons in force."""

    def __init__(self, config: Config) -> None:
        self.node = Node(config)
        self.overlay = make_overlay_of(config, self.node)
        self._following = Following(self.overlay, Prober(), make_parts_of(config, self.overlay))
        self._controller = Controller(config)
        self._config = config
        self._refusal: Refusal | None = None
        self._refused_at = 0.0
        self._trouble = ""
        """Why the last round failed on this node, e.g. a policy file that cannot be read."""
        self._ipv6_uplink = False
        self._problems: tuple[str, ...] = ()
        self._failures = 0
        self._reported = -REPORT_EVERY
        self._named: dict[str, str] = {}
        """What the last report said of the site's name."""
        self._stop = self._idle = False
        self._fresh = True
        """Nothing has been fetched yet."""

    def run(self) -> None:
        """Until SIGTERM or SIGINT; what is being applied is finished first."""
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGINT, self._end)
        self._restore()
        log.info("version %s in force", self.node.version)
        self._following.start()
        guard.watch(Deletions(), self.node.refresh)
        threading.Thread(target=self._tell_names, name="names", daemon=True).start()
        with contextlib.suppress(_EndedError):
            while not self._stop:
                self._round()

    def _end(self, *_: object) -> None:
        self._stop = True
        if self._idle:
            raise _EndedError

    def _restore(self) -> None:
        """Both last good specs in one apply: with the node's alone, filters would close links that carry traffic."""
        for restore in (self.overlay.restore, self.node.restore):
            try:
                restore()
            except NetdError as error:
                log.warning("the last good spec is not in force: %s", error)
                self._trouble = str(error)

    def _round(self) -> None:
        try:
            if time.monotonic() - self._reported >= REPORT_EVERY:
                self._look()
                self._report()
            if (sealed := self._fetch()) is not None:
                self._take(sealed)
            else:
                self._refresh()
            if self._trouble or sealed is not None:
                self._trouble = ""
                self._report()
            self._failures = 0
        except NetdError as error:
            self._wait(error)

    def _fetch(self) -> bytes | None:
        self._idle = True
        try:
            found = self._controller.fetch(self._after(), WAIT)
            self._fresh = False
            return found
        finally:
            self._idle = False

    def _after(self) -> int:
        """A refused version is not asked for again at once."""
        if self._refusal and time.monotonic() - self._refused_at < RETRY_REFUSED:
            return max(self.node.version, self._refusal.version)
        # what an older netd said that it knew is what the spec in force was made of: the first one is asked for anew
        return max(0, self.node.version - 1) if self._fresh else self.node.version

    def _take(self, sealed: bytes) -> None:
        try:
            asked = self._controller.asked_by()
            self.node.take(sealed)
            log.info("version %s in force%s", self.node.version, f" for the requests {asked}" if asked else "")
            self._refusal = None
        except SpecError as error:
            log.warning("spec refused: %s: %s", error.code, error.text)
            self._refusal = Refusal(version=error.version, code=error.code, text=error.text[:2000])
            self._refused_at = time.monotonic()
            if not error.version:  # without a version to wait beyond, the same spec would come again at once
                self._report()
                self._sleep(WAIT)

    def _refresh(self) -> None:
        if changes := self.node.refresh():
            log.warning("brought back to version %s: %s changes", self.node.version, len(changes))

    def _look(self) -> None:
        """What a report says besides; apart from it, since a machine's creation waits for the report of its spec."""
        self._ipv6_uplink, self._problems = has_uplink("-6"), self.node.problems()

    def _report(self) -> None:
        self._controller.report(self._as_seen())
        self._reported = time.monotonic()

    def _as_seen(self) -> Report:
        self._named = self._name()
        return Report(
            node=self._config.node,
            applied_version=self.node.version,
            refusal=self._refusal,
            boot_id=Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
            ipv6_uplink=self._ipv6_uplink,
            problems=tuple(problem[:200] for problem in self._problems),
            trouble=self._trouble[:200],
            **self._named,
        )

    def _tell_names(self) -> None:
        """A site that has just joined has a new name: its controller knows at once, over a connection of its own, while the loop waits
        for news."""
        controller = Controller(self._config)
        while True:
            time.sleep(NAME_EVERY)
            if self._name() != self._named:
                with contextlib.suppress(NetdError):  # the loop's own report says what is wrong with the controller
                    controller.report(self._as_seen())

    def _name(self) -> dict[str, str]:
        """The site's name as its invitation gave it, which the controller takes for the machines' names, and the site's prefixes."""
        member, table = self.overlay.member, self.overlay.table
        if not member or not table:
            return {}
        given = next((site for site in table.sites if site.site == member.site), None)
        prefixes = {"ipv4": given.ipv4, "ipv6": given.ipv6} if given else {}
        return {"site": member.site, "domain": table.domain} | prefixes

    def _wait(self, error: NetdError) -> None:
        """Without a controller the last good spec is kept up all the same; what is wrong here is told to the controller."""
        delay = BACKOFF[min(self._failures, len(BACKOFF) - 1)]
        self._failures += 1
        level = logging.WARNING if self._failures in (1, 5) or error.code != "controller" else logging.DEBUG
        log.log(level, "%s; next try in %s s", error, delay)
        try:
            if error.code == "controller":
                self._refresh()
            else:
                self._trouble = str(error)
                self._report()
        except NetdError as other:
            log.log(level, "%s", other)
        self._sleep(delay)

    def _sleep(self, seconds: float) -> None:
        self._idle = True
        try:
            if not self._stop:
                time.sleep(seconds)
        finally:
            self._idle = False
