"""Measuring the way to each peer, always and lightly: one ICMP echo a second per link, bound to the link's interface.

Raw sockets: whether datagram ICMP sockets are allowed depends on a setting of the server (net.ipv4.ping_group_range), even for root.
Replies are matched by identifier, sequence number and address.
"""

from __future__ import annotations

import contextlib
import secrets
import selectors
import socket
import struct
import threading
import time
from collections.abc import Mapping

from netd.core import echo
from netd.core.link_report import Seen
from netd.core.overlay import interface
from netd.core.preference import SURE, Grade, Window, add, classify, quality, sure
from netd.core.wanted import Wanted

EVERY = 1.0
LATE = 1.0
"""Seconds after which an echo counts as lost."""
BODY = bytes(24)


class Prober:
    """`follow` sends and collects, once a second; `measured` and `classes` say what came of it."""

    def __init__(self) -> None:
        self._probes: dict[int, _Probe] = {}
        self._lock = threading.Lock()

    def follow(self, wanted: Wanted) -> None:
        """Send to every peer whatever is due and read what has come."""
        links = {link.number: (interface(wanted.instance, link.number), link.peer_ipv4) for link in wanted.spec.links}
        with self._lock:
            for number in set(self._probes) - set(links):
                self._probes.pop(number).close()
            for number, (device, peer) in links.items():
                if number not in self._probes:
                    self._probes[number] = _Probe(device, peer)
                self._probes[number].turn(time.monotonic())
        self._collect(0.05)

    def _collect(self, seconds: float) -> None:
        """Read answers for a moment; later ones carry the kernel's own time of arrival."""
        with selectors.DefaultSelector() as selector:
            for probe in self._probes.values():
                if probe.socket is not None:
                    selector.register(probe.socket, selectors.EVENT_READ, probe)
            for key, _ in selector.select(seconds):
                key.data.read()

    def measured(self) -> Mapping[int, Seen]:
        found = {number: quality(probe.window) for number, probe in self._probes.items()}
        return {
            number: Seen(
                rtt_ms=None if known.rtt_ms == float("inf") else known.rtt_ms,
                jitter_ms=known.jitter_ms,
                loss=known.loss,
            )
            for number, known in found.items()
            if known is not None
        }

    def sure(self) -> frozenset[int]:
        """Links that neither end is in doubt of."""
        return frozenset(
            n for n, probe in self._probes.items() if probe.sure and probe.grade and probe.grade.grade >= SURE
        )

    def classes(self) -> Mapping[int, int]:
        return {number: probe.grade.grade for number, probe in self._probes.items() if probe.grade is not None}


class _Probe:
    """One link's echoes."""

    def __init__(self, device: str, peer: str) -> None:
        self._device, self._peer = device, peer
        self.socket: socket.socket | None = None
        self._sent: dict[int, float] = {}
        self._sequence, self._identifier = 0, secrets.randbits(16)
        self._next = 0.0
        self.window = Window()
        self.grade: Grade | None = None
        self.sure = False

    def turn(self, now: float) -> None:
        self.read()
        for sequence in [s for s, at in self._sent.items() if now - at > LATE]:
            del self._sent[sequence]
            self._sample(None)
        if now >= self._next:
            self._next = now + EVERY * 0.9
            self._send(now)

    def _send(self, now: float) -> None:
        self._sequence = (self._sequence + 1) & 0xFFFF
        try:
            if self.socket is None:
                self.socket = _open(self._device)
            self.socket.sendto(echo.request4(self._identifier, self._sequence, BODY), (self._peer, 0))
        except OSError:  # no interface yet, or no way: as good as lost
            self.close()
            self._sample(None)
            return
        self._sent[self._sequence] = now

    def read(self) -> None:
        """Answers that have come; their time is the kernel's where it stamps them."""
        while self.socket is not None:
            try:
                data, extra, _, address = self.socket.recvmsg(256, 64)
            except OSError:
                return
            reply = echo.replied4(data, self._identifier)
            if reply and address[0] == self._peer and (sent := self._sent.pop(reply[0], None)) is not None:
                self._sample(max(0.0, _arrival(extra) - sent) * 1000)

    def _sample(self, rtt_ms: float | None) -> None:
        """Nothing is lost before the tunnel has ever carried an echo: its first handshake takes a moment."""
        if rtt_ms is None and not self.window.samples:
            return
        self.window = add(self.window, rtt_ms)
        self.grade, self.sure = classify(self.grade, self.window), sure(self.sure, self.window)

    def close(self) -> None:
        if self.socket is not None:
            with contextlib.suppress(OSError):
                self.socket.close()
            self.socket = None


SO_TIMESTAMPNS = 35
"""asm-generic/socket.h; Python's socket module does not name it."""


def _open(device: str) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMP)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
    made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    return made


def _arrival(extra: list[tuple[int, int, bytes]]) -> float:
    """When the kernel had the packet, on the monotonic clock."""
    for level, kind, data in extra:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS and len(data) >= 16:
            seconds, nanoseconds = struct.unpack("@qq", data[:16])
            return time.monotonic() - max(0.0, time.time() - float(seconds + nanoseconds / 1e9))
    return time.monotonic()
