"""Where a node can be reached: its own addresses, what its peers see of it, and what follows about NATs on its way. Pure."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from garage.core.topology_types import Way

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
PRIVATE = [
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
]
"""Addresses that mean something else elsewhere (RFC 1918, RFC 6598, RFC 4193)."""
MOST = 8
"""Endpoints of a link (netd.wire.Link)."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """One peer's word: this node, which sends from `port`, shows itself at ADDRESS:PORT."""

    port: int
    seen_at: str
    now: bool = True
    """False: by a link that is down, as it was last."""


@dataclass(frozen=True, slots=True)
class Outside:
    """What the sightings of one address family agree on; `address` "" when there are none."""

    address: str = ""
    way: Way = "closed"


def split(endpoint: str) -> tuple[Address, int] | None:
    """(address, port) of "1.2.3.4:5" or "[::1]:5"; None for one that nobody can be reached at."""
    text, _, port = endpoint.rpartition(":")
    try:
        address = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None
    usable = not (address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified)
    return (address, int(port)) if usable and 0 < int(port) < 65_536 else None


def addresses(endpoints: Iterable[str]) -> list[str]:
    """The usable addresses of a node's own endpoints, in its order, each once; ports are a matter of the link."""
    return list(dict.fromkeys(str(found[0]) for text in endpoints if (found := split(text))))[:MOST]


def outside(own: Collection[str], sightings: Iterable[Sighting], version: int) -> Outside:
    """How the node is seen in IPv4 or IPv6. The address that most peers name counts, so that one who lies is outvoted; what they see now
    before what they saw: a site may have moved. Of its NAT all tell, so that it does not seem another one whenever a link goes down.

    An own address that is seen as it is has no NAT before it; a NAT that keeps ports can be met half-way; any other shows ports
    that nobody can foresee, since each link is a socket of its own.
    """
    told = [(found, item) for item in sightings if (found := split(item.seen_at)) and found[0].version == version]
    told = [row for row in told if not private(row[0][0])] or told  # a peer behind the same NAT sees nothing of it
    seen = [(found, item.port) for found, item in told]
    if not seen:
        return Outside("", _guess([ipaddress.ip_address(text) for text in own], version))
    votes = Counter([str(found[0]) for found, item in told if item.now] or [str(found[0]) for found, _ in told])
    address = min(votes, key=lambda text: (-votes[text], text not in own, text))
    if address in own:
        return Outside(address, "open")
    kept = [found[1] == port for found, port in seen if str(found[0]) == address]
    return Outside(address, "cone" if 2 * sum(kept) > len(kept) else "symmetric")


def _guess(own: Iterable[Address], version: int) -> Way:
    """Before anybody has seen the node: a private IPv4 address may have a NAT before it."""
    found = [address for address in own if address.version == version]
    if any(not private(address) for address in found):
        return "open"
    return "cone" if found and version == 4 else "closed"


def private(address: Address) -> bool:
    return any(address in net for net in PRIVATE if net.version == address.version)


def endpoints(own: Iterable[str], seen: Iterable[Outside], port: int, *, near: bool = False) -> list[str]:
    """Where a link that listens on `port` may be reached, best first: native IPv6, public IPv4, what peers see, private addresses;
    `near`: the peer is behind the same NAT, and private addresses come first."""
    parsed = [ipaddress.ip_address(text) for text in own]
    public = sorted((a for a in parsed if not private(a)), key=lambda a: -a.version)
    inside = sorted((a for a in parsed if private(a)), key=lambda a: a.version)
    shown = [ipaddress.ip_address(o.address) for o in seen if o.address and o.way == "cone"]
    order = [*inside, *public, *shown] if near else [*public, *sorted(shown, key=lambda a: -a.version), *inside]
    return [_text(address, port) for address in dict.fromkeys(order)][:MOST]


def _text(address: Address, port: int) -> str:
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
