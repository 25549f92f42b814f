"""Tells whoever asks by UDP where it sees them (STUN, netd.core.stun): how `netd doctor` finds out what stands between a site and the rest.

On the web process's own port number and the next one: a NAT that shows another port at each is one that peers cannot foresee.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any, cast

from netd.core.stun import answer

log = logging.getLogger(__name__)
PORTS = 2
PER_SECOND = 1000
"""Answers of one socket; a flood is left unanswered."""


class Echo(asyncio.DatagramProtocol):
    """One socket. Nothing is remembered of whoever asks, and an answer is smaller than its question."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._transport: asyncio.DatagramTransport | None = None
        self._clock, self._second, self._answered = clock, 0, 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # it is none by inheritance

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        with contextlib.suppress(ValueError):  # an address with a scope
            if self._transport and self._may() and (said := answer(data, addr[0], addr[1])) is not None:
                self._transport.sendto(said, addr)

    def _may(self) -> bool:
        second = int(self._clock())
        self._answered = self._answered + 1 if second == self._second else 1
        self._second = second
        return self._answered <= PER_SECOND


async def open_echo(host: str, port: int) -> list[asyncio.BaseTransport]:
    """Sockets that answer until they are closed. A port that is taken is no reason not to serve: sites then learn less."""
    found: list[asyncio.BaseTransport] = []
    for number in range(port, port + PORTS):
        try:
            made, _ = await asyncio.get_running_loop().create_datagram_endpoint(Echo, local_addr=(host, number))
            found.append(made)
        except (OSError, OverflowError) as error:
            log.warning("no UDP echo at %s:%s, which netd doctor asks: %s", host, number, error)
    return found
