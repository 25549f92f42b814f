"""What the async routes share, kept on the ASGI app by the composition."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import HTTPConnection

from garage.gateway.hub import Hub
from garage.services.context import Context

Dial = Callable[[str], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
"""Opens the SSH port of the machine at an IPv4 address; raises `ssh_failed`."""


@dataclass(frozen=True, slots=True)
class Parts:
    ctx: Context
    hub: Hub
    dial: Dial


def parts(connection: HTTPConnection) -> Parts:
    found: Parts = connection.app.state.parts
    return found
