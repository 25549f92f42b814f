"""Renumbering a site: every address keeps its place in the prefix. Pure."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from garage.core.states import State
from garage.errors import N_, GarageError

RUNNING = (State.BOOTING, State.READY)
STILL = (State.STOPPED, State.FAILED)
"""These have the new addresses when they are started."""
Prefixes = tuple[str, str]
"""IPv4 and IPv6, as CIDRs."""


@dataclass(frozen=True, slots=True)
class Move:
    """One machine's addresses before and after."""

    id: str
    name: str
    project: str
    state: str
    ipv4_before: str
    ipv6_before: str
    ipv4: str
    ipv6: str

    @property
    def restarts(self) -> bool:
        """A guest takes its addresses when it boots."""
        return State(self.state) in RUNNING


def moved(address: str, before: str, after: str) -> str:
    """`address` of the prefix `before` at the same place in `after`; raises `no_address` where `after` has no such place."""
    old, new = ipaddress.ip_network(before), ipaddress.ip_network(after)
    place = int(ipaddress.ip_address(address)) - int(old.network_address)
    if not 0 <= place < min(old.num_addresses, new.num_addresses):
        raise GarageError(
            "no_address",
            N_("{address} has no place in {prefix}"),
            hint=N_("delete that machine first"),
            address=address,
            prefix=after,
        )
    return str(new[place])


def digest(before: Prefixes, after: Prefixes, moves: Iterable[Move]) -> str:
    """What a person agrees to; another plan has another one. 16 hexadecimal digits."""
    lines = [*before, *after, *(f"{move.id} {move.ipv4_before} {move.ipv6_before}" for move in moves)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
