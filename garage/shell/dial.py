"""TCP to a machine's SSH port."""

from __future__ import annotations

import asyncio
import socket

from garage.errors import N_, GarageError

SSH_PORT = 22
CONNECT_SECONDS = 10.0
BUFFER = 256 * 1024
"""Bytes read ahead of the other side; more brings no throughput on one host."""


async def dial_ssh(ipv4: str, *, port: int = SSH_PORT) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A stream to port 22 of a machine; raises `ssh_failed`. The port is for tests, nothing of a request reaches it."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(ipv4, port, limit=BUFFER, family=socket.AF_INET)
    except (OSError, TimeoutError) as error:
        hint = N_("it may still be starting, or its network is down: look at its console")
        reason = str(error) or "no answer"
        raise GarageError(
            "ssh_failed", N_("port 22 of {ipv4} does not answer: {reason}"), hint=hint, ipv4=ipv4, reason=reason
        ) from None
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return reader, writer
