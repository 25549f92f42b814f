"""Looks for SSH banners: one thread for all machines that boot, nothing in it ever waits for one of them."""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

log = logging.getLogger(__name__)
INTERVAL = 0.05
"""Seconds from the end of one try to the next."""
CONNECT_TIMEOUT = 0.5
"""Shorter than TCP's first retransmission (1 s, RFC 6298): a fresh SYN finds a guest that came up meanwhile sooner."""
BANNER_TIMEOUT = 15.0
"""An emulated guest may take seconds to start the process that says hello."""
BANNER = b"SSH-2.0"
PORT = 22


@dataclass(slots=True)
class _Try:
    """One machine that is looked at: between tries, connecting, or waiting for the first bytes."""

    address: str
    next_at: float = 0.0
    sock: socket.socket | None = None
    connected: bool = False
    got: bytes = field(default=b"")


class SshProber:
    """`core.hypervisor_types.Prober` over TCP. `notify` is called from the prober's thread when a banner came."""

    def __init__(self, notify: Callable[[], None], *, port: int = PORT) -> None:
        self._notify, self._port = notify, port
        self._lock = threading.Lock()
        self._wanted: dict[str, str] = {}
        self._answered: set[str] = set()
        self._tries: dict[str, _Try] = {}
        self._selector = selectors.DefaultSelector()
        self._bell, self._ear = socket.socketpair()
        self._ear.setblocking(False)
        self._selector.register(self._ear, selectors.EVENT_READ, None)
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="prober", daemon=True)
        self._thread.start()

    def set_targets(self, targets: dict[str, str]) -> None:
        with self._lock:
            if targets == self._wanted:
                return
            self._wanted = dict(targets)
            self._answered &= set(targets)
        self._ring()

    def answered(self) -> frozenset[str]:
        with self._lock:
            return frozenset(self._answered)

    def close(self) -> None:
        self._closed = True
        self._ring()
        self._thread.join(timeout=2)

    def _ring(self) -> None:
        with contextlib.suppress(OSError):
            self._bell.send(b"x")

    def _run(self) -> None:
        while not self._closed:
            try:
                self._turn()
            except Exception:  # a thread that ended here would be missed for ever: no machine would be ready any more
                log.exception("an error of ours")
                time.sleep(INTERVAL)
        for name in list(self._tries):
            self._end(name, forget=True)
        self._selector.close()

    def _turn(self) -> None:
        self._follow_targets()
        for key, _ in self._selector.select(self._begin_due(time.monotonic())):
            if key.data is None:
                with contextlib.suppress(BlockingIOError):
                    self._ear.recv(4096)
            else:
                self._progress(key.data)

    def _follow_targets(self) -> None:
        with self._lock:
            wanted = {name: address for name, address in self._wanted.items() if name not in self._answered}
        for name in [name for name in self._tries if name not in wanted]:
            self._end(name, forget=True)
        for name, address in wanted.items():
            self._tries.setdefault(name, _Try(address))

    def _begin_due(self, now: float) -> float | None:
        """Begin and end what is due; returns the seconds until the next such moment, None for never."""
        for name, attempt in list(self._tries.items()):
            if attempt.next_at <= now:
                if attempt.sock:
                    self._end(name)
                else:
                    self._begin(name, attempt, now)
        return min((max(0.0, attempt.next_at - now) for attempt in self._tries.values()), default=None)

    def _begin(self, name: str, attempt: _Try, now: float) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        attempt.sock, attempt.connected, attempt.got, attempt.next_at = sock, False, b"", now + CONNECT_TIMEOUT
        sock.connect_ex((attempt.address, self._port))
        self._selector.register(sock, selectors.EVENT_WRITE, name)

    def _progress(self, name: str) -> None:
        attempt = self._tries.get(name)
        if attempt is None or attempt.sock is None:
            return
        try:
            self._read(name, attempt, attempt.sock)
        except BlockingIOError:
            return
        except OSError:
            self._end(name)

    def _read(self, name: str, attempt: _Try, sock: socket.socket) -> None:
        if not attempt.connected:
            if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(code, "connect")
            attempt.connected, attempt.next_at = True, time.monotonic() + BANNER_TIMEOUT
            self._selector.modify(sock, selectors.EVENT_READ, name)
            return
        data = sock.recv(len(BANNER) - len(attempt.got))
        attempt.got += data
        if not data or not BANNER.startswith(attempt.got):
            self._end(name)
        elif attempt.got == BANNER:
            self._end(name, forget=True)
            with self._lock:
                if name in self._wanted:
                    self._answered.add(name)
            self._notify()

    def _end(self, name: str, *, forget: bool = False) -> None:
        """Close the try; the next one begins after INTERVAL, unless nobody asks any more."""
        attempt = self._tries[name]
        if attempt.sock:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(attempt.sock)
            attempt.sock.close()
        attempt.sock, attempt.next_at = None, time.monotonic() + INTERVAL
        if forget:
            del self._tries[name]
