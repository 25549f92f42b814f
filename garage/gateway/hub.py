"""One watcher of the database per process, shared by all streams: events, SSH, node polls.

A thread asks every 25 ms whether anything was committed; only then one transaction reads what all streams together need.
Everything else here runs on the event loop, so there are no locks.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.concurrency import run_in_threadpool

from garage.db.session import ChangeWatch
from garage.errors import N_, GarageError
from garage.gateway.listener import Listener
from garage.services import events, live
from garage.services.context import Caller, Context
from garage.services.live import Credential

log = logging.getLogger(__name__)

POLL_SECONDS = 0.025
"""Half of the 50 ms within which a node learns of a change; one look costs about 40 µs, so an idle process spends 0.2 % of a CPU on it."""
RECHECK_SECONDS = 1.0
"""How often rights are read when nothing was committed: a token's expiry is no commit."""
STREAMS_PER_USER = 64
"""SSH streams, and event streams, that one user may hold open: an editor and Ansible with 20 forks fit; descriptors stay bounded."""


class Carried:
    """An open SSH stream as the hub sees it; `ended` is set to (WebSocket close code, reason) when the rights to it end."""

    def __init__(self, credential: Credential, caller: Caller, machine_id: str, ipv4: str) -> None:
        self.credential, self.caller, self.machine_id, self.ipv4 = credential, caller, machine_id, ipv4
        self.ended: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()

    def end(self, code: int, reason: str) -> None:
        if not self.ended.done():
            self.ended.set_result((code, reason))


class Hub:
    """Start it inside the event loop, close it once; it survives a database that is away for a while."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._last = 0
        self._listeners: set[Listener] = set()
        self._carried: set[Carried] = set()
        self._polls: dict[asyncio.Event, tuple[str, int]] = {}
        self._changed = asyncio.Event()
        self._stop = threading.Event()
        self._task: asyncio.Task[None] | None = None
        self.closing = False

    async def start(self) -> None:
        self._last = await run_in_threadpool(events.latest, self._ctx)
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._watch, args=(loop,), name="garage-watch", daemon=True).start()
        self._task = asyncio.create_task(self._run())

    def close(self) -> None:
        """End all streams at once; for a process that is going down."""
        self.closing = True
        self._stop.set()
        if self._task:
            self._task.cancel()
        for listener in self._listeners:
            listener.end()
        for stream in self._carried:
            stream.end(1012, "the garage restarts")
        for waiter in self._polls:
            waiter.set()

    @contextmanager
    def listening(self, listener: Listener) -> Iterator[None]:
        """Feed `listener` meanwhile; raises `quota_exceeded` beyond the user's limit."""
        self._check_limit(Counter(other.caller.user_id for other in self._listeners)[listener.caller.user_id])
        self._listeners.add(listener)
        try:
            yield
        finally:
            self._listeners.discard(listener)

    @contextmanager
    def carrying(self, stream: Carried) -> Iterator[None]:
        """Watch over the rights to `stream` meanwhile; raises `quota_exceeded` beyond the user's limit."""
        self._check_limit(Counter(other.caller.user_id for other in self._carried)[stream.caller.user_id])
        self._carried.add(stream)
        self._changed.set()
        try:
            yield
        finally:
            self._carried.discard(stream)

    def _check_limit(self, held: int) -> None:
        if held >= STREAMS_PER_USER:
            raise GarageError(
                "quota_exceeded",
                N_("you have {limit} streams of this kind open already"),
                hint=N_("close some of them"),
                limit=STREAMS_PER_USER,
            )

    async def newer_spec(self, node: str, after: int, seconds: float) -> None:
        """Return when the node's spec is newer than `after`, when `seconds` are over, or when the process goes down."""
        waiter = asyncio.Event()
        self._polls[waiter] = (node, after)
        self._changed.set()
        try:
            if not self.closing:
                await asyncio.wait_for(waiter.wait(), seconds)
        except TimeoutError:
            pass
        finally:
            del self._polls[waiter]

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """The thread. A database that does not answer counts as changed once it does again."""
        watch: ChangeWatch | None = None
        while not self._stop.is_set():
            try:
                if watch is None:
                    watch = ChangeWatch(self._ctx.db)
                    changed = True
                else:
                    watch.wait(POLL_SECONDS)
                    changed = watch.changed()
            except Exception:  # noqa: BLE001  (whatever the driver raises, the next round tries again)
                watch = None
                self._stop.wait(RECHECK_SECONDS)
                continue
            if changed and not loop.is_closed():
                loop.call_soon_threadsafe(self._changed.set)
        if watch:
            watch.close()

    async def _run(self) -> None:
        while True:
            try:
                await asyncio.wait_for(self._changed.wait(), RECHECK_SECONDS)
            except TimeoutError:
                if not self._listeners and not self._carried:
                    continue
            self._changed.clear()
            try:
                await self._look()
            except GarageError as error:
                log.warning("streams wait for the database: %s", error)
                await asyncio.sleep(RECHECK_SECONDS)
            except Exception:
                log.exception("a look at the database failed")
                await asyncio.sleep(RECHECK_SECONDS)

    async def _look(self) -> None:
        credentials = {reader.credential for reader in self._listeners} | {
            stream.credential for stream in self._carried
        }
        machines = {stream.machine_id for stream in self._carried}
        seen = await run_in_threadpool(live.look, self._ctx, self._last, credentials, machines)
        self._feed(seen, credentials)
        for stream in list(self._carried):
            if stream.credential in credentials and stream.machine_id in machines:
                _judge(stream, seen)
        for waiter, (node, after) in self._polls.items():
            if seen.versions.get(node, 0) > after:
                waiter.set()

    def _feed(self, seen: live.Look, credentials: set[Credential]) -> None:
        """Give each listener what it may see. One that came during the look finds these events in its backlog, read after it came."""
        started_over = seen.latest < self._last
        for listener in list(self._listeners):
            if listener.credential in credentials:
                listener.take(seen.events, seen.sights.get(listener.credential))
            if started_over:
                listener.reset(seen.latest)
        self._last = seen.events[-1].id if seen.events else seen.latest
        if len(seen.events) == live.MAX_EVENTS:
            self._changed.set()


def _judge(stream: Carried, seen: live.Look) -> None:
    """End a stream whose credential, membership or machine has ended. Close codes are 4000 + the HTTP status."""
    sight, machine = seen.sights.get(stream.credential), seen.machines.get(stream.machine_id)
    if sight is None:
        stream.end(4401, "signed out: the token or session has ended")
    elif machine is None or not sight.sees(machine.project_id):
        stream.end(4403, "this machine is no longer yours to see")
    elif machine.state not in live.CARRIED or machine.ipv4 != stream.ipv4:
        stream.end(4409, f"the machine is {machine.state}")
