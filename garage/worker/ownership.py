"""Who works on a node: one worker, by a time-limited hold that is renewed; clocks of other servers are never compared.

A hold is taken over when its row has not changed for TTL seconds of the taker's own clock, or at once when the former owner ran
on this server and its lock file is free: then that process is dead.
"""

from __future__ import annotations

import fcntl
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path

from garage.errors import GarageError
from garage.services import work
from garage.services.context import Context
from garage.services.work import Hold, Owner

log = logging.getLogger(__name__)
TTL = 15.0
RENEW = 5.0


class ServerLock:
    """The only worker of this garage on this server: a lock that the kernel drops with its process."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self.taken = False

    def take(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        self.taken = True
        return True

    def drop(self) -> None:
        os.close(self._file)
        self.taken = False


def server_name() -> str:
    """This server in this boot."""
    return f"{socket.gethostname()[:20]}/{Path('/proc/sys/kernel/random/boot_id').read_text()[:8]}"


class Keeper:
    """Takes and renews the hold on one node. Used by that node's thread alone."""

    def __init__(self, ctx: Context, node: str, lock: ServerLock, monotonic: Callable[[], float]) -> None:
        self._ctx, self._node, self._lock, self._monotonic = ctx, node, lock, monotonic
        self._server = server_name()
        self._who = f"{self._server}/{os.getpid()}/{ctx.rng.getrandbits(32):08x}"
        self._hold: Hold | None = None
        self._renewed = 0.0
        self._rival: tuple[Owner, float] | None = None

    def hold(self) -> Hold | None:
        """The hold, taken or renewed when that is due; None while another worker owns the node."""
        try:
            if self._hold is None:
                self._hold = self._try_to_take()
            elif self._monotonic() - self._renewed >= RENEW:
                work.renew(self._ctx, self._hold, TTL)
                self._renewed = self._monotonic()
        except GarageError as error:
            if error.code != "version_conflict":
                raise
            self.lost()
        return self._hold

    def valid(self) -> bool:
        """Nobody else can own the node at this moment: asked before every effect."""
        return self._hold is not None and self._monotonic() - self._renewed < TTL

    def lost(self) -> None:
        log.warning("another worker took %s", self._node)
        self._hold = None

    def release(self) -> None:
        hold, self._hold = self._hold, None
        if hold is not None:
            work.release(self._ctx, hold)

    def _try_to_take(self) -> Hold | None:
        now, seen = self._monotonic(), work.owner(self._ctx, self._node)
        if self._rival is None or self._rival[0] != seen:
            self._rival = (seen, now)
        if not self._free(seen) and now - self._rival[1] < TTL:
            return None
        self._renewed = now
        return work.take(self._ctx, self._node, self._who, seen, TTL)

    def _free(self, seen: Owner) -> bool:
        return not seen.owner or (self._lock.taken and seen.owner.startswith(self._server + "/"))
