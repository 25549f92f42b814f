"""The UDP echo beside the web process, over real sockets."""

from __future__ import annotations

import asyncio
import socket

from garage.gateway.echo import PER_SECOND, PORTS, Echo, open_echo
from netd.core.stun import mapped, request


def ask(host: str, port: int, transaction: bytes) -> tuple[tuple[str, int] | None, int]:
    """(what it says, the port asked from)."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(5)
        one.connect((host, port))
        one.send(request(transaction))
        return mapped(one.recv(2048), transaction), one.getsockname()[1]


def free_pair(host: str) -> int:
    """A port that is free together with the next one."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as other:
            one.bind((host, 0))
            port: int = one.getsockname()[1]
            try:
                other.bind((host, port + 1))
            except (OSError, OverflowError):
                continue
            return port


async def both(host: str) -> None:
    port = free_pair("127.0.0.1")
    sockets = await open_echo(host, port)
    try:
        assert len(sockets) == PORTS
        for number in range(port, port + PORTS):
            said, own = await asyncio.to_thread(ask, "127.0.0.1", number, b"abcdefghijkl")
            assert said == ("127.0.0.1", own)
    finally:
        for one in sockets:
            one.close()


def test_whoever_asks_is_told_where_they_are() -> None:
    asyncio.run(both("127.0.0.1"))


def test_both_families_of_a_wildcard() -> None:
    asyncio.run(both("::"))


def test_a_taken_port_does_not_matter() -> None:
    async def look() -> int:
        with socket.socket(type=socket.SOCK_DGRAM) as one:
            one.bind(("127.0.0.1", 0))
            sockets = await open_echo("127.0.0.1", one.getsockname()[1])
            for transport in sockets:
                transport.close()
            return len(sockets)

    assert asyncio.run(look()) < PORTS


def test_a_flood_is_left_unanswered() -> None:
    now = [10.0]
    echo = Echo(lambda: now[0])
    assert sum(echo._may() for _ in range(PER_SECOND * 3)) == PER_SECOND
    now[0] = 11.0
    assert echo._may()
