"""What is told of the links: observation and measurement made into a LinkReport; pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from netd.wire import LinkSpec, LinkState

FRESH = 180.0
"""Seconds after which a handshake says nothing: WireGuard makes a new one every 120 s while there is traffic and rejects keys after 180
(its paper, section 6.1: REKEY-AFTER-TIME, REJECT-AFTER-TIME); probes and BFD are traffic."""
HEARD = 15.0
"""Seconds after a handshake in which netd gives no other endpoint its turn (endpoints.PATIENCE)."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One link as it is and as it was measured; see LinkState for units."""

    handshake_age: float | None = None
    seen_at: str | None = None
    received: int = 0
    sent: int = 0
    mtu: int = 0
    rtt_ms: float | None = None
    jitter_ms: float | None = None
    loss: float | None = None


def link_states(
    spec: LinkSpec, seen: Mapping[int, Seen], established: Collection[int], classes: Mapping[int, int]
) -> tuple[LinkState, ...]:
    """One entry per link of the spec, also for those of which nothing is known."""
    return tuple(
        _state(link.number, seen.get(link.number, Seen()), link.number in established, classes) for link in spec.links
    )


def _state(number: int, seen: Seen, established: bool, classes: Mapping[int, int]) -> LinkState:
    return LinkState(
        number=number,
        state=_word(seen, established),
        seen_at=seen.seen_at if established or _heard(seen) else None,
        preference=classes.get(number),
        rtt_ms=_rounded(seen.rtt_ms),
        jitter_ms=_rounded(seen.jitter_ms),
        loss=_rounded(seen.loss, 4),
        mtu=seen.mtu,
        received=seen.received,
        sent=seen.sent,
    )


def _heard(seen: Seen) -> bool:
    """Whether the endpoint is where packets came from: one that nobody answered from is only where netd tries next."""
    return seen.handshake_age is not None and seen.handshake_age < HEARD


def _word(seen: Seen, established: bool) -> Literal["waiting", "up", "down"]:
    if established:
        return "up"
    return "waiting" if seen.handshake_age is None else "down"


def _rounded(value: float | None, digits: int = 2) -> float | None:
    return None if value is None else round(value, digits)
