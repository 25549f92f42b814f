"""Asking the node's own name server, as its machines do."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Collection, Sequence

from netd.core.dns_query import query, rcode

PATIENCE = 2.5
RESEND = 0.8
"""Seconds."""
HEAD_START = 0.1
"""Seconds that the other questions are under way when the last is asked: does it wait for them?"""


def ask(server: str, others: Sequence[str], own: str, awaited: Collection[str]) -> list[tuple[int | None, float]]:
    """(response code, seconds) per name of `others` and then of `own`; None: no answer. Only `own` and `awaited` are waited for."""
    begun: dict[int, float] = {}
    found: dict[int, tuple[int, float]] = {}
    names = [*others, own]
    needed = {place for place, name in enumerate(names) if name is own or name in awaited}
    first = int.from_bytes(os.urandom(2)) % (65_536 - len(names))
    with socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.connect((server, 53))
        began = time.monotonic()
        sent: dict[int, float] = {}
        while (now := time.monotonic()) < began + PATIENCE and not needed <= found.keys():
            for place, name in enumerate(names):
                due = now - sent.get(place, -RESEND) >= RESEND and (name is not own or now >= began + HEAD_START)
                if place not in found and due:
                    sent[place] = now
                    begun.setdefault(place, now)
                    with contextlib.suppress(OSError):  # nobody listens there; the silence says so
                        one.send(query(first + place, name))
            _hear(one, first, begun, found)
    return [found.get(place, (None, PATIENCE)) for place in range(len(names))]


def _hear(one: socket.socket, first: int, begun: dict[int, float], found: dict[int, tuple[int, float]]) -> None:
    if not select.select([one], [], [], 0.05)[0]:
        return
    with contextlib.suppress(OSError):
        if (said := rcode(one.recv(4096))) is not None and (place := said[0] - first) in begun:
            found.setdefault(place, (said[1], time.monotonic() - begun[place]))
