"""Echoes of a given size that nobody may cut into pieces, and what the kernel knows of a way's MTU.

Raw sockets, as in netd/prober.py. PMTUDISC_PROBE sets DF and leaves what the kernel remembers of the way aside (ip(7), ipv6(7)), so
that a way which has become wider is seen.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import struct
from dataclasses import dataclass

from netd.core import echo
from netd.core.shaping import CONTROL
from netd.shell.kernel import SYS, ip_json

SOL_RAW, ICMP_FILTER, ICMPV6_FILTER = 255, 1, 1
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, PMTUDISC_PROBE = 10, 23, 3
"""linux/icmp.h, linux/icmpv6.h, linux/in.h, linux/in6.h; Python's socket module does not name them."""
HEADERS = {4: 20 + echo.HEADER, 6: 40 + echo.HEADER}
REMEMBERED = 4096
"""Echoes whose answer is waited for."""


@dataclass(frozen=True, slots=True)
class _Sent:
    tag: int
    size: int
    address: str
    body: bytes


class Echoes:
    """Any number of ways over two sockets."""

    def __init__(self) -> None:
        self._identifier, self._sequence = secrets.randbits(16), 0
        self._sockets: dict[int, socket.socket] = {}
        self._sent: dict[int, _Sent] = {}

    def send(self, tag: int, address: str, size: int) -> None:
        """An echo that makes an IP packet of `size` bytes; as good as lost where this server itself cannot send it."""
        version = 6 if ":" in address else 4
        self._sequence = (self._sequence + 1) & 0xFFFF
        body = secrets.token_bytes(8) + bytes(size - HEADERS[version] - 8)
        make = echo.request6 if version == 6 else echo.request4
        with contextlib.suppress(OSError):
            self._socket(version).sendto(make(self._identifier, self._sequence, body), (address, 0))
            self._sent[self._sequence] = _Sent(tag, size, address, body)
        while len(self._sent) > REMEMBERED:
            del self._sent[next(iter(self._sent))]

    def answered(self, *, forget: bool = True) -> dict[int, set[int]]:
        """Tag → sizes whose answers came since the last call; with `forget`, what was sent before it is waited for no longer."""
        found: dict[int, set[int]] = {}
        for version, opened in self._sockets.items():
            for sent in self._read(version, opened):
                found.setdefault(sent.tag, set()).add(sent.size)
        if forget:
            self._sent.clear()
        return found

    def _read(self, version: int, opened: socket.socket) -> list[_Sent]:
        found, parse = [], echo.replied6 if version == 6 else echo.replied4
        with contextlib.suppress(OSError):
            while True:
                data, address = opened.recvfrom(2048)
                if (reply := parse(data, self._identifier)) is None:
                    continue
                sent = self._sent.get(reply[0])
                if sent is not None and (sent.address, sent.body) == (address[0], reply[1]):
                    found.append(sent)
        return found

    def _socket(self, version: int) -> socket.socket:
        if version not in self._sockets:
            self._sockets[version] = _open6() if version == 6 else _open4()
        return self._sockets[version]


def _open4() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMP)
    made.setsockopt(SOL_RAW, ICMP_FILTER, struct.pack("=I", ~(1 << echo.REPLY4) & 0xFFFF_FFFF))
    made.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_PROBE)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, CONTROL)
    return made


def _open6() -> socket.socket:
    made = socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMPV6)
    blocked = [0xFFFF_FFFF] * 8
    blocked[echo.REPLY6 // 32] &= ~(1 << echo.REPLY6 % 32)
    made.setsockopt(socket.IPPROTO_ICMPV6, ICMPV6_FILTER, struct.pack("=8I", *blocked))
    made.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_PROBE)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, CONTROL)
    return made


def route_mtu(address: str) -> int | None:
    """Of the way to `address`: the first device's, or less where a router on it once said so; None without a way."""
    rows = ip_json("-6" if ":" in address else "-4", "route", "get", address)
    if not rows or "dev" not in rows[0]:
        return None
    known = [metric["mtu"] for metric in rows[0].get("metrics", []) if "mtu" in metric]
    with contextlib.suppress(OSError, ValueError):
        known.append(int((SYS / rows[0]["dev"] / "mtu").read_text()))
    return min(known) if known else None
