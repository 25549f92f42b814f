"""The overlay's three threads beside the node's loop: one polls the registry, one tends links and measures, one reports.

Each may fail for as long as it likes: links, routes, filters and machines go on as they were.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from netd import joining
from netd.core.link_report import Seen, link_states
from netd.core.wanted import Wanted
from netd.errors import NetdError
from netd.measuring import Throughput
from netd.membership import Membership
from netd.metrics import Metrics
from netd.overlay import Overlay, refused_version
from netd.reporting import Reporter
from netd.shell import kernel
from netd.shell.controller import Controller
from netd.shell.installation import installation
from netd.shell.registry import Registry
from netd.shell.tunnels import has_module
from netd.told import Teller
from netd.wire import LinkReport, News, Outcome, Refusal, SpecError

log = logging.getLogger(__name__)
POLL = 25.0
"""Seconds of one long-poll."""
LOOK = 0.25
"""Seconds between looks for a join, a leave, a pause."""
ASK_EVERY = 3.0
TEND = 1.0
MEND = 5.0
"""Seconds between looks at everything that should run."""
REPORT_EVERY = 10.0
BACKOFF = (0.5, 1.0, 2.0, 5.0, 10.0)
RETRY_REFUSED = 30.0


class Measuring(Protocol):
    """Always and lightly measures the way to each peer."""

    def follow(self, wanted: Wanted) -> None: ...
    def measured(self) -> Mapping[int, Seen]: ...
    def classes(self) -> Mapping[int, int]: ...
    def sure(self) -> frozenset[int]: ...


class Part(Protocol):
    """Something that is looked after in every round, about once a second; it must not block."""

    def follow(self, wanted: Wanted) -> None: ...
    def problems(self) -> tuple[str, ...]: ...


class Following:
    """Start with `start()`; the threads end with the process."""

    def __init__(self, overlay: Overlay, measuring: Measuring, parts: Sequence[Part] = ()) -> None:
        self.overlay, self._measuring = overlay, measuring
        self._throughput, self._metrics = Throughput(overlay.home.path), Metrics(overlay.config.state_dir)
        self._parts: Sequence[Part] = (*parts, self._throughput)
        self._asked = -ASK_EVERY
        self._routed: tuple[int, int, Mapping[int, int], frozenset[int]] = (0, 0, {}, frozenset())
        """What routes were last made of."""
        self._registry: Registry | None = None
        """That is polled."""
        self._followed: Membership | None = None
        """Whose links were brought up by this process."""
        self._refusal: Refusal | None = None
        self._refused: tuple[int, int, float] = (0, 0, 0.0)
        """Versions of LinkSpec and Table that were refused, and when."""
        self._report_now = threading.Event()
        self._reported = self._mended = -REPORT_EVERY
        self._paused = overlay.paused
        self._news: tuple[frozenset[int], tuple[str, ...], Outcome | None, bool] = (frozenset(), (), None, False)
        self._trouble: dict[str, str] = {}
        """By thread: why its last turn failed."""
        self._teller = Teller()
        self._reporter = Reporter(self._teller.heard)
        self._start = secrets.token_hex(8)

    def start(self) -> None:
        for name, act in (("poll", self._poll), ("tend", self._tend), ("report", self._reporter.turn)):
            threading.Thread(target=self._for_ever, args=(name, act), name=f"overlay-{name}", daemon=True).start()

    def _for_ever(self, name: str, act: Callable[[], None]) -> None:
        failures = 0
        while True:
            try:
                act()
                failures = 0
                self._trouble.pop(name, None)
            except (NetdError, SpecError, OSError) as error:
                log.log(logging.WARNING if failures in (0, 4) else logging.DEBUG, "overlay: %s", error)
                self._trouble[name] = str(error)
            except Exception as error:
                log.exception("overlay: the thread %s goes on", name)
                self._trouble[name] = f"{type(error).__name__}: {error}"[:200]
            else:
                continue
            time.sleep(BACKOFF[min(failures, len(BACKOFF) - 1)])
            failures += 1

    def _poll(self) -> None:
        """While this node is a member: wait for news, take it."""
        if (member := self.overlay.home.membership()) is None:
            time.sleep(LOOK)
            self._join_own()
            return
        self._come_up(member)
        self._registry = registry = Registry(member.url, member.pin, self.overlay.home.credential())
        while self.overlay.home.membership() == member:
            news = registry.fetch(*self._after(), POLL)
            self._teller.heard_at = time.time()
            self._trouble.pop("poll", None)
            if news is not None and self.overlay.member == member:
                self._take(news)

    def _join_own(self) -> None:
        """The controller of this node may keep a registry: its own site is a member, too."""
        if time.monotonic() - self._asked < ASK_EVERY or self.overlay.node.spec is None:
            return
        self._asked = time.monotonic()
        config = self.overlay.config
        with contextlib.suppress(NetdError):  # a controller that is away is the node's own loop's trouble
            if (token := Controller(config).invitation()) is not None:
                joined = joining.join(config, config.controller_url, token)
                log.info("joined the controller's own registry as site %s", joined.site)

    def _come_up(self, member: Membership) -> None:
        """From the last good documents, before the registry is asked."""
        if self._followed == member:
            return
        with self.overlay.node.lock:
            self.overlay.restore()
            changes = self.overlay.apply()
        self._followed = member
        log.info("site %s: %s changes", member.site, len(changes))
        self._report_now.set()

    def _after(self) -> tuple[int, int]:
        """Refused versions are not asked for again at once."""
        spec, table = self.overlay.versions
        if time.monotonic() - self._refused[2] < RETRY_REFUSED:
            return max(spec, self._refused[0]), max(table, self._refused[1])
        return spec, table

    def _take(self, news: News) -> None:
        try:
            changes = self.overlay.take(news)
            log.info("registry's version %s, table %s: %s changes", *self.overlay.versions, len(changes))
            self._refusal = None
        except SpecError as error:
            log.warning("refused: %s: %s", error.code, error.text)
            refused = refused_version(news.spec), refused_version(news.table)
            self._refused = (*refused, time.monotonic())
            self._refusal = Refusal(version=max(refused), code=error.code, text=error.text[:2000])
        self._report_now.set()

    def _tend(self) -> None:
        """One round: leave and pause, what has died, what was measured, what is told. It waits for nobody."""
        overlay = self.overlay
        if overlay.member is None:
            time.sleep(LOOK)
            return
        if overlay.home.membership() is None:
            log.info("left the overlay")
            self._reporter.forget()
            overlay.leave()
            self._metrics.remove()
            return
        for asked in (self._registry, self._reporter):
            if asked:
                asked.hurry()
        if overlay.paused != self._paused:
            self._paused = overlay.paused
            overlay.apply()
        if (wanted := overlay.wanted()) is not None:
            self._measure(wanted)
            self._mend(wanted)
            for part in self._parts:
                part.follow(wanted)
            self._tell(wanted)
        self._report_now.wait(TEND)

    def _measure(self, wanted: Wanted) -> None:
        self._measuring.follow(wanted)
        self.overlay.classes = dict(self._measuring.classes())
        sure = self._measuring.sure() - self.overlay.sparing  # others were asked to go other ways
        self._bind(sure, due=time.monotonic() - self._mended >= MEND)

    def _bind(self, sure: frozenset[int], *, due: bool) -> None:
        """Each change is one of the filters: what is sure no more counts at once, what is newly so now and then."""
        before = self.overlay.sure
        if before - sure or (due and sure - before):
            self.overlay.sure = sure
            self.overlay.filter()

    def _mend(self, wanted: Wanted) -> None:
        """Routes follow at once what was taken or measured, and whatever becomes of a tunnel; everything that should run is looked at
        now and then."""
        overlay, due = self.overlay, time.monotonic() - self._mended >= MEND
        made_of = (id(overlay.spec), id(overlay.table), overlay.classes, overlay.sparing)
        try:
            if due:
                self._mended = time.monotonic()
                with overlay.node.lock:
                    self._say("tunnels", overlay.tunnels.follow(wanted))
        finally:
            if due or made_of != self._routed:
                self._say("routes", overlay.route())
                self._routed = made_of
                self._teller.reclassify(overlay.home.path, overlay.classes)

    @staticmethod
    def _say(what: str, changes: Sequence[str]) -> None:
        if changes:
            log.info("%s: %s changes: %s", what, len(changes), "; ".join(changes)[:200])

    def _tell(self, wanted: Wanted) -> None:
        """Every ten seconds, and at once when a document was taken, a link came or went, a measurement ended, somebody is seen to
        lie, or the site is paused or stopped."""
        up = self.overlay.routes.established(wanted)
        news = up, self.overlay.routes.alarms(wanted), self._throughput.outcome(), self.overlay.paused
        due = self._report_now.is_set() or time.monotonic() - self._reported >= REPORT_EVERY or news != self._news
        if not due or (member := self.overlay.member) is None:
            return
        self._report_now.clear()
        self._news, self._reported = news, time.monotonic()
        report, place = self.report(wanted, up), self.overlay.home
        self._teller.tell(place.path, report, self.overlay.classes)
        self._metrics.write(wanted, report)
        self._reporter.hand(place, member, report)

    def report(self, wanted: Wanted, up: frozenset[int]) -> LinkReport:
        """What this node says of its links."""
        overlay, versions = self.overlay, self.overlay.versions
        measured = self._measuring.measured()
        seen = {
            number: Seen(
                handshake_age=tunnel.handshake_age,
                seen_at=tunnel.seen_at,
                received=tunnel.received,
                sent=tunnel.sent,
                mtu=tunnel.mtu,
                rtt_ms=measured[number].rtt_ms if number in measured else None,
                jitter_ms=measured[number].jitter_ms if number in measured else None,
                loss=measured[number].loss if number in measured else None,
            )
            for number, tunnel in overlay.tunnels.observe(wanted).items()
        }
        own = kernel.own_addresses(bridge=wanted.bridge, links=f"gl{wanted.instance}")[:8]
        port = overlay.member.port if overlay.member else 0
        return LinkReport(
            applied_version=versions[0],
            table_version=versions[1],
            start=self._start,
            place=installation(overlay.home.path),
            refusal=self._refusal,
            keys=overlay.public_keys(),
            endpoints=tuple(f"[{a}]:{port}" if ":" in a else f"{a}:{port}" for a in own),
            links=link_states(wanted.spec, seen, up, self._measuring.classes()),
            outcome=self._throughput.outcome(),
            paused=overlay.paused,
            kernel=has_module(),
            **self._prefixes(),
            alarms=tuple(text[:200] for text in overlay.routes.alarms(wanted))[:20],
            problems=tuple(text[:200] for text in self._problems())[:20],
        )

    def _prefixes(self) -> dict[str, str]:
        own = self.overlay.node.spec
        return {"ipv4": own.bridge.site_ipv4, "ipv6": own.bridge.site_ipv6} if own else {}

    def _problems(self) -> list[str]:
        found = (*self._trouble.values(), *(text for part in self._parts for text in part.problems()))
        return [text for text in (*found, *self.overlay.refused) if text]
