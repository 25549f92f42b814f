"""What tunnels and routes are made of, and what is seen of them; plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from netd.wire import LinkSpec, Table


@dataclass(frozen=True, slots=True)
class Wanted:
    """What tunnels and routes are made of."""

    instance: str
    spec: LinkSpec
    table: Table
    gateway4: str
    """The node's own address in the site's prefix: the source of what it sends to other sites."""
    gateway6: str
    bridge: str
    classes: Mapping[int, int]
    """Link number → class of preference, as last measured."""
    closed: frozenset[str] = frozenset()
    """Prefixes of the table that this server neither takes nor announces, whatever its registry signs."""
    sparing: frozenset[int] = frozenset()
    """Links over lines whose volume is nearly used up: others are asked to go other ways."""
    mtus: Mapping[int, int] = field(default_factory=dict)
    """Link number → MTU of its interface, where the path was measured."""


@dataclass(frozen=True, slots=True)
class Tunnel:
    """One tunnel as it is. Bytes since its interface was made."""

    handshake_age: float | None
    """Seconds since both ends last agreed on keys; None: never."""
    seen_at: str | None
    """The peer's outside endpoint, ADDRESS:PORT."""
    received: int
    sent: int
    mtu: int
