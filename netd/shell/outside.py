"""Asking a registry's UDP echo (netd.core.stun) how this server looks from outside, and which sizes of packets get there."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import select
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from netd.core.doctor_lines import Echoes, Path
from netd.core.stun import mapped, request

PORTS = 2
"""The echo listens on the registry's port number and on those after it."""
PATIENCE = 2.0
RESEND = 0.6
"""Seconds; a packet may be lost."""
ELSEWHERE = {4: "192.0.2.1", 6: "2001:db8::1"}
"""Documentation addresses (RFC 5737, RFC 3849): asked of the routing table alone, nothing is sent there."""
SIZES = (1500, 1492, 1480, 1460, 1452, 1440, 1420, 1400, 1380, 1360, 1280)
"""Of whole IP packets: Ethernet's, PPPoE's, 6in4's, MAP-E's and DS-Lite's, and those below; all leave STUN a multiple of 4."""
GLOBAL6 = ipaddress.ip_network("2000::/3")
HEADERS = {4: 28, 6: 48}
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
PROBE = 3
"""IP_PMTUDISC_PROBE and IPV6_PMTUDISC_PROBE of linux/in.h: never fragment, whatever was learnt of the path before."""
DISCOVER = {4: (socket.IPPROTO_IP, 10), 6: (socket.IPPROTO_IPV6, 23)}
"""IP_MTU_DISCOVER, IPV6_MTU_DISCOVER."""


@dataclass
class _Question:
    """A packet to send until it is answered."""

    socket: socket.socket
    port: int
    data: bytes
    size: int
    transaction: bytes
    shown: tuple[str, int] | None = None
    sent: bool = True
    """May still be answered."""


@dataclass(frozen=True, slots=True)
class Asked:
    echoes: Echoes
    path: Path
    native6: bool
    """The own address is a global one of IPv6."""


def own_address(version: int, towards: str = "") -> str:
    """Of this server, that a packet to `towards` (else: to anywhere outside) is sent from; "" without a way."""
    with contextlib.suppress(OSError), socket.socket(FAMILIES[version], socket.SOCK_DGRAM) as probe:
        probe.connect((towards or ELSEWHERE[version], 9))
        return str(probe.getsockname()[0])
    return ""


def addresses(host: str, port: int) -> dict[int, str]:
    """IP version → the first address of `host`; a name is resolved by the server's own resolver. Raises OSError."""
    found: dict[int, str] = {}
    for family, _, _, _, where in socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM):
        found.setdefault(6 if family == socket.AF_INET6 else 4, str(where[0]))
    return found


def ask(version: int, address: str, port: int) -> Asked:
    """What the echo at `address` ("": the registry has none of this version) says."""
    own = own_address(version, address) or own_address(version)
    native = bool(own) and ipaddress.ip_address(own) in GLOBAL6
    if not own or not address or own == address:
        return Asked(Echoes(version, own), Path(version, (), ()), native)
    with contextlib.ExitStack() as stack:
        small = _questions(version, port, stack)
        large = _sized(version, port, stack)
        _converse([*small, *large], address)
        seen = tuple((q.socket.getsockname()[1], q.port, *q.shown) for q in small if q.shown)
        tried = tuple(sorted({question.size for question in large}, reverse=True))
        passed = tuple(question.size for question in large if question.shown)
        return Asked(Echoes(version, own, True, seen), Path(version, tried, passed), native)


def _questions(version: int, port: int, stack: contextlib.ExitStack) -> list[_Question]:
    """One socket asks two ports, since a NAT may show another one at each; another socket asks one of them."""
    sockets = [stack.enter_context(socket.socket(FAMILIES[version], socket.SOCK_DGRAM)) for _ in range(2)]
    ways = [(sockets[0], port + number) for number in range(PORTS)] + [(sockets[1], port)]
    found = []
    for one, where in ways:
        one.setblocking(False)
        transaction = os.urandom(12)
        found.append(_Question(one, where, request(transaction), 0, transaction))
    return found


def _sized(version: int, port: int, stack: contextlib.ExitStack) -> list[_Question]:
    one = stack.enter_context(socket.socket(FAMILIES[version], socket.SOCK_DGRAM))
    one.setblocking(False)
    one.setsockopt(*DISCOVER[version], PROBE)
    found = []
    for size in SIZES:
        transaction = os.urandom(12)
        found.append(_Question(one, port, request(transaction, size - HEADERS[version]), size, transaction))
    return found


def _converse(questions: Sequence[_Question], address: str) -> None:
    """Send, and send again, until all are answered or `PATIENCE` is over."""
    sockets = {question.socket.fileno(): question.socket for question in questions}
    began = time.monotonic()
    resend = began
    while (now := time.monotonic()) < began + PATIENCE and (left := [q for q in questions if q.sent and not q.shown]):
        if now >= resend:
            resend = now + RESEND
            for question in left:
                _send(question, address)
        ready, _, _ = select.select(list(sockets.values()), [], [], max(0.0, resend - time.monotonic()))
        for one in ready:
            _receive(one, questions)


def _send(question: _Question, address: str) -> None:
    try:
        question.socket.sendto(question.data, (address, question.port))
    except OSError:
        question.sent = not question.size  # larger than the first device takes: never to be sent


def _receive(one: socket.socket, questions: Iterable[_Question]) -> None:
    with contextlib.suppress(OSError):
        while True:
            answer = one.recv(2048)
            for question in questions:
                if question.socket is one and not question.shown:
                    question.shown = mapped(answer, question.transaction)
