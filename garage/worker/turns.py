"""Many nodes on few threads: `Turns` decides when a node's loop takes a turn, `Crowd` runs what may take long."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Protocol

log = logging.getLogger(__name__)
TURN_THREADS = 4
"""Turns only compute and ask the database, so a few threads are enough for any number of nodes."""
CROWD_THREADS = 128
"""Calls that wait for nodes, at the same time."""
SLOW = 2.0
"""Seconds after which a call is a slow one."""
LINGER = 10.0
"""Seconds that a thread without work stays."""


class Job(Protocol):
    """What takes turns; never two at the same time."""

    def turn(self) -> float:
        """Do what is due, without waiting for anybody outside; returns the seconds until time alone makes another turn necessary."""


@dataclass(eq=False, slots=True)
class _Entry:
    job: Job
    at: float = 0.0
    queued: bool = False
    running: bool = False
    again: bool = False
    """It was woken while it ran."""
    gone: bool = False


class Turns:
    """Gives turns to jobs when they are woken or due. Safe to use from any thread."""

    def __init__(self, threads: int = TURN_THREADS, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        lock = threading.Lock()
        self._changed, self._left = threading.Condition(lock), threading.Condition(lock)
        """For who gives turns, and for who waits for the end of one: a word to the former must not reach the latter."""
        self._entries: dict[Job, _Entry] = {}
        self._due: list[tuple[float, int, _Entry]] = []
        self._ready: deque[_Entry] = deque()
        self._count = itertools.count()
        self._closed = False
        self._threads = [threading.Thread(target=self._run, name=f"turn-{n}", daemon=True) for n in range(threads)]
        for thread in self._threads:
            thread.start()

    def add(self, job: Job) -> None:
        """Its first turn comes at once."""
        with self._changed:
            self._entries[job] = entry = _Entry(job)
            self._queue(entry)

    def wake(self, job: Job) -> None:
        """A turn as soon as possible, and after the present one if it has begun; nothing for one that was removed."""
        with self._changed:
            if (entry := self._entries.get(job)) is not None:
                self._queue(entry)

    def remove(self, job: Job) -> None:
        """No turn begins any more; returns when the present one has ended. Never called from a turn."""
        with self._changed:
            entry = self._entries.pop(job, None)
            if entry is not None:
                entry.gone = True
                self._left.wait_for(lambda: not entry.running)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _queue(self, entry: _Entry) -> None:
        if entry.running:
            entry.again = True
        elif not entry.queued:
            entry.queued = True
            self._ready.append(entry)
            self._changed.notify()

    def _run(self) -> None:
        while (entry := self._next()) is not None:
            seconds = entry.job.turn()
            with self._changed:
                entry.running = False
                if entry.gone:
                    self._left.notify_all()
                elif entry.again:
                    self._queue(entry)
                else:
                    entry.at = self._monotonic() + seconds
                    heapq.heappush(self._due, (entry.at, next(self._count), entry))
                    if self._due[0][2] is entry:
                        self._changed.notify()  # whoever waits for what was the first until now

    def _next(self) -> _Entry | None:
        with self._changed:
            while not self._closed:
                wait = self._take_due()
                while self._ready:
                    entry = self._ready.popleft()
                    entry.queued = False
                    if not entry.gone:
                        entry.running, entry.again, entry.at = True, False, -1.0
                        return entry
                self._changed.wait(wait)
            return None

    def _take_due(self) -> float | None:
        """Make ready what is due; returns the seconds until the next will be, None for never."""
        now = self._monotonic()
        while self._due:
            at, _, entry = self._due[0]
            current = not entry.gone and not entry.running and entry.at == at
            if current and at > now:
                return at - now
            heapq.heappop(self._due)
            if current:
                self._queue(entry)
        return None


@dataclass(eq=False, slots=True)
class _Lane:
    """What is to be done for one key, in order of its coming."""

    limit: int
    waiting: deque[Callable[[], None]] = field(default_factory=deque)
    running: dict[int, float] = field(default_factory=dict)
    """Number of a call → when it began."""
    slow: bool = False
    """Its last call was."""


class Crowd:
    """Runs calls that may take long on a bounded number of threads, and keeps those that wait for slow nodes from holding up the others:
    where a call runs or ran for longer than SLOW, further ones of its key begin only while slow ones hold less than half of the threads.

    Keys take turns; a key has at most its limit of calls at the same time. Safe to use from any thread.
    """

    def __init__(self, threads: int = CROWD_THREADS, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._most, self._monotonic = threads, monotonic
        self._changed = threading.Condition()
        self._lanes: dict[Hashable, _Lane] = {}
        self._ring: deque[Hashable] = deque()
        self._threads = self._idle = 0
        self._count = itertools.count()
        self._closed = False

    def submit(self, key: Hashable, work: Callable[[], None], limit: int = 1) -> None:
        """`work` handles its own errors. Nothing begins after `close`."""
        with self._changed:
            lane = self._lanes.setdefault(key, _Lane(limit))
            lane.waiting.append(work)
            if len(lane.waiting) == 1:
                self._ring.append(key)
            self._start()

    def close(self) -> None:
        """Forget what has not begun; returns when the rest has ended."""
        with self._changed:
            self._closed = True
            self._ring.clear()
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._threads)

    def _start(self) -> None:
        if self._idle:
            self._changed.notify()
        elif self._threads < self._most and not self._closed:
            self._threads += 1
            threading.Thread(target=self._run, name="crowd", daemon=True).start()

    def _run(self) -> None:
        with self._changed:
            while (found := self._wait()) is not None:
                key, lane, work = found
                number = next(self._count)
                begun = lane.running[number] = self._monotonic()
                if self._ring:
                    self._start()
                self._changed.release()
                try:
                    work()
                except BaseException:  # a thread that ended here would be missed for ever
                    log.exception("an error of ours")
                finally:
                    self._changed.acquire()
                del lane.running[number]
                lane.slow = self._monotonic() - begun > SLOW
                if not lane.waiting and not lane.running and not lane.slow:
                    del self._lanes[key]
            self._threads -= 1
            self._changed.notify_all()

    def _wait(self) -> tuple[Hashable, _Lane, Callable[[], None]] | None:
        """The next call that may begin; None when the thread is not needed any more."""
        while not self._closed:
            if (found := self._pick()) is not None:
                return found
            self._idle += 1
            heard = self._changed.wait(LINGER)
            self._idle -= 1
            if not heard and not self._ring:
                return None
        return None

    def _pick(self) -> tuple[Hashable, _Lane, Callable[[], None]] | None:
        now = self._monotonic()
        room = self._slow_calls(now) < self._most // 2
        for _ in range(len(self._ring)):
            key = self._ring.popleft()
            lane = self._lanes[key]
            if len(lane.running) < lane.limit and (room or not _is_slow(lane, now)):
                work = lane.waiting.popleft()
                if lane.waiting:
                    self._ring.append(key)
                return key, lane, work
            self._ring.append(key)
        return None

    def _slow_calls(self, now: float) -> int:
        """Also those of lanes that were slow, as they will be."""
        return sum(len(lane.running) for lane in self._lanes.values() if lane.running and _is_slow(lane, now))


def _is_slow(lane: _Lane, now: float) -> bool:
    return lane.slow or any(now - begun > SLOW for begun in lane.running.values())
