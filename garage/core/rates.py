"""How many requests somebody may send: a bucket that fills evenly and holds a minute's worth (the leaky bucket as a meter, I.371)."""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict
from dataclasses import dataclass

WINDOW = 60
"""Seconds that a limit is for."""
REMEMBERED = 20_000
"""Buckets kept; whoever has been away longest is forgotten first, and starts with a full one."""


@dataclass(frozen=True, slots=True)
class Left:
    """What is said of a bucket: `remaining` requests at once, all of `limit` again in `reset` seconds; `wait` seconds until the next one
    where there is none."""

    policy: str
    limit: int
    remaining: int
    reset: int
    wait: int


def network(host: str) -> str:
    """Who an address counts as: whoever has an IPv6 address has all of its /64; an IPv4 address is itself, also where a socket of both
    families writes it as ::ffff:192.0.2.1. What is no address stands for itself."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 4:
        return host
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), 64), strict=False))


class Rates:
    """Of one policy: `limit` requests per `WINDOW` for each key; 0: as many as one likes."""

    def __init__(self, policy: str, limit: int) -> None:
        self.policy, self.limit = policy, limit
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """By key: how full at which time."""

    def take(self, key: str, now: float) -> Left:
        """One request of `key` at `now` (monotonic seconds); a refused one takes nothing."""
        full, at = self._buckets.pop(key, (float(self.limit), now))
        full = min(float(self.limit), full + max(0.0, now - at) * self.limit / WINDOW)
        taken = full >= 1.0
        full -= 1.0 if taken else 0.0
        self._buckets[key] = (full, now)
        if len(self._buckets) > REMEMBERED:
            self._buckets.popitem(last=False)
        per_second = self.limit / WINDOW
        reset = math.ceil((self.limit - full) / per_second)
        return Left(self.policy, self.limit, int(full), reset, 0 if taken else math.ceil((1.0 - full) / per_second))
