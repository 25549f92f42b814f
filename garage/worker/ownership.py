"""Being one of several workers: this one's beat, its judgement of the others, and whether it may still act.

A worker whose beat has not changed for DEAD seconds of one's own clock has lost its nodes; at once when it ran on this server and its lock
file is free, because then its process is dead. A worker that could not beat for SURE seconds begins nothing any more: SURE is shorter than
DEAD and counts from before the beat was written, so it stops before anybody can have taken its place, on whatever clock.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from garage.errors import GarageError
from garage.services import crew
from garage.services.context import Context
from garage.services.crew import Mate

log = logging.getLogger(__name__)
BEAT = 1.0
LOOK = 0.25
"""Seconds between looks at the others."""
DEAD = 3.0
SURE = 2.5


def boottime() -> float:
    """Seconds that also pass while the server sleeps, unlike those of CLOCK_MONOTONIC."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def server_name() -> str:
    """This server in this boot."""
    return f"{socket.gethostname()[:20]}/{Path('/proc/sys/kernel/random/boot_id').read_text()[:8]}"


class LifeLine:
    """A lock file that the kernel frees with its process; other workers of the server look at it."""

    def __init__(self, folder: Path, who: str) -> None:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._path = _path(folder, who)
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def cut(self) -> None:
        self._path.unlink(missing_ok=True)
        os.close(self._file)


def is_cut(folder: Path, who: str) -> bool:
    """Its process is dead, for sure; False also where that cannot be known."""
    with contextlib.suppress(FileNotFoundError, BlockingIOError), _path(folder, who).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def clean(folder: Path) -> frozenset[Path]:
    """Remove what dead workers left, and return it: it is the proof of their death. One whose file goes between its making and its locking
    will be called dead while it lives, and begins anew."""
    removed = []
    for path in folder.glob("*.lock") if folder.exists() else ():
        with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
            removed.append(path)
    return frozenset(removed)


def _path(folder: Path, who: str) -> Path:
    return folder / f"{who.replace('/', '.')}.lock"


class Pulse:
    """This worker among the others. `turn` belongs to one thread; the rest may be asked from any."""

    def __init__(self, ctx: Context, clock: Callable[[], float] = boottime) -> None:
        self._ctx, self._clock = ctx, clock
        self._folder = ctx.config.home / "run" / "workers"
        self._server = server_name()
        self._seen: dict[str, tuple[int, float]] = {}
        self._line: LifeLine | None = None
        self._cut: frozenset[Path] = frozenset()
        """Lock files of dead workers that are removed."""
        self.id = ""
        """Another one after the others have given this worker up; "" before the first turn."""
        self.live: dict[str, str] = {}
        """Who is at work: id → home."""
        self._beaten = self._next = -1.0

    def turn(self) -> None:
        """Beat when that is due, and look at the others. Raises when the database does not answer: the beat is tried again."""
        now = self._clock()
        if not self.id:
            self._join(now)
        elif now >= self._next:
            if not crew.beat(self._ctx, self.id):
                log.warning("the other workers have given this one up; it begins anew")
                self._quit()
                self._join(now)
            self._beaten, self._next = now, now + BEAT
        self._look()

    def sure(self, who: str) -> bool:
        """`who` is this worker, and nobody can have taken its place yet: asked before every effect."""
        return bool(who) and who == self.id and self._clock() - self._beaten < SURE

    def leave(self, nodes: list[str]) -> None:
        """Give `nodes` up and be at work no longer."""
        if self.id:
            crew.leave(self._ctx, self.id, nodes)
            self._quit()

    def _join(self, now: float) -> None:
        self._cut |= clean(self._folder)
        who = f"{self._server}/{os.getpid()}/{self._ctx.rng.getrandbits(32):08x}"
        self._line = LifeLine(self._folder, who)
        try:
            crew.join(self._ctx, who, self._server, self._ctx.config.node)
        except BaseException:
            self._quit()
            raise
        self.id, self._beaten, self._next = who, now, now + BEAT

    def _quit(self) -> None:
        self.id = ""
        if self._line is not None:
            self._line.cut()
            self._line = None

    def _look(self) -> None:
        mates, now = crew.mates(self._ctx), self._clock()
        seen = {mate.id: self._seen.get(mate.id, (mate.beat, now)) for mate in mates}
        self._seen = {m.id: seen[m.id] if seen[m.id][0] == m.beat else (m.beat, now) for m in mates}
        dead = [mate for mate in mates if mate.id != self.id and self._is_dead(mate, now)]
        for mate in dead:
            if crew.bury(self._ctx, mate):
                log.warning("worker %s shows no life: its nodes are free", mate.id)
        buried = {mate.id for mate in dead}
        live = {mate.id: mate.home for mate in mates if mate.id not in buried}
        if live != self.live:
            self.live = live

    def _is_dead(self, mate: Mate, now: float) -> bool:
        if now - self._seen[mate.id][1] >= DEAD:
            return True
        if mate.server != self._server:
            return False
        return _path(self._folder, mate.id) in self._cut or is_cut(self._folder, mate.id)


class Heart:
    """Turns a pulse again and again on a thread, so that nothing else that the worker waits for holds its beat up."""

    def __init__(self, pulse: Pulse) -> None:
        self._pulse, self._ended = pulse, threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(LOOK):
            try:
                self._pulse.turn()
            except GarageError as error:
                log.warning("no beat: %s", error)
            except Exception:
                log.exception("no beat: an error of ours")

    def end(self) -> None:
        self._ended.set()
        self._thread.join()
