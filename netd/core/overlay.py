"""The overlay as the node's filters and names see it: plain values made of LinkSpec, Table and floor; pure."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from netd.core.floor import Floor, Network
from netd.wire import LinkSpec, Table

RANGES = (("10.0.0.0/8", 12, 24), ("fd00::/8", 40, 64))
"""(range, shortest, longest prefix) of what a registry may allot: private and local addresses (RFC 1918, RFC 4193), never a default
route and never somebody's public network."""
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Zone:
    """Names of another site and who answers for them."""

    domain: str
    networks: tuple[str, ...]
    """Prefixes whose reverse names the site serves."""
    servers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a link: all that may speak to this node's own ports over it."""

    interface: str
    ipv4: str
    ipv6: str
    inside: bool = False
    """A node of this very site, which the server's root has named: machines of the site pass, too."""
    own4: str = ""
    """This end's address, while the peer may measure throughput to it; "" else."""
    here4: str = ""
    here6: str = ""
    """This end's addresses, at which alone the peer speaks BGP and BFD."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A site that is linked with this node so well that its packets come by these links and by no detour."""

    number: int
    """Of one of the links; names the chain."""
    interfaces: tuple[str, ...]
    networks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Overlay:
    """What of the overlay is let through. Sorted, so that equal values give equal rule sets."""

    peers: tuple[Peer, ...] = ()
    bound: tuple[Bound, ...] = ()
    networks: tuple[str, ...] = ()
    """Prefixes of other sites that machines may reach and that may reach machines; nothing of the floor's own networks."""
    zones: tuple[Zone, ...] = ()
    refused: tuple[str, ...] = ()
    """"nagoya 10.77.0.0/20: overlaps 10.77.0.0/16, which is closed on this server": the floor wins over an allotment."""
    paused: bool = False
    closed: frozenset[str] = frozenset()
    """The prefixes of `refused`, and what the registry calls this site's own although it is not."""

    def of(self, version: int) -> tuple[str, ...]:
        return tuple(net for net in self.networks if (":" in net) == (version == 6))


def interface(instance: str, number: int) -> str:
    """The name of a link's interface, e.g. "glabch" for link 17 of instance "abc"; at most 15 characters."""
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = DIGITS[digit] + digits
    return f"gl{instance}{digits}"


def make_overlay(
    instance: str,
    spec: LinkSpec,
    table: Table,
    floor: Floor,
    own: Iterable[str],
    *,
    paused: bool = False,
    now: float = 0.0,
    sure: Collection[int] = (),
) -> Overlay:
    """`now`: seconds since 1970, which end an order to measure; `sure`: numbers of links that neither end is in doubt of.

    Prefixes that overlap `own` (the site's as its controller says) or the floor's networks, or lie outside `RANGES`, are left out and
    named."""
    own = tuple(own)
    closed = dict.fromkeys(floor.networks, "closed on this server") | dict.fromkeys(own, "this site's own")
    networks: list[Network] = []
    zones, refused, out = [], [], set[str]()
    for site in sorted(table.sites, key=lambda site: site.site):
        if site.site == spec.site:
            out |= {net for net in (site.ipv4, site.ipv6) if parsed(net) not in map(parsed, own)}
            continue
        reasons = {net: _reason(parsed(net), closed) for net in (site.ipv4, site.ipv6)}
        refused += [f"{site.site} {net}: {reason}" for net, reason in reasons.items() if reason]
        out |= {net for net, reason in reasons.items() if reason}
        kept = tuple(net for net, reason in reasons.items() if not reason)
        networks += map(parsed, kept)
        if servers := tuple(address for address in (site.dns4, site.dns6) if _inside(address, kept)):
            zones.append(Zone(f"{site.site}.{table.domain}", kept, servers))
    peers, bound = _peers(instance, spec, now), _bound(instance, spec, table, frozenset(out), sure)
    return Overlay(peers, bound, _merged(networks), tuple(zones), tuple(refused), paused, frozenset(out))


def _reason(net: Network, closed: Mapping[str, str]) -> str:
    """Why a prefix is not let through; "" when it is."""
    if not any(_within(net, *allowed) for allowed in RANGES):
        return "outside the overlay's ranges"
    found = [other for other in closed if parsed(other).version == net.version and _overlap(net, other)]
    return f"overlaps {found[0]}, which is {closed[found[0]]}" if found else ""


def _within(net: Network, whole: str, shortest: int, longest: int) -> bool:
    outer = parsed(whole)
    return net.version == outer.version and net.subnet_of(outer) and shortest <= net.prefixlen <= longest  # type: ignore[arg-type]


def _merged(networks: Iterable[Network]) -> tuple[str, ...]:
    """As intervals of a set may not overlap: a registry that allots twice breaks no rule set."""
    found = [net for net in networks if net.version == 4], [net for net in networks if net.version == 6]
    return tuple(str(net) for nets in found for net in ipaddress.collapse_addresses(nets))  # type: ignore[type-var]


def _peers(instance: str, spec: LinkSpec, now: float) -> tuple[Peer, ...]:
    serving = spec.order.link if spec.order and spec.order.role == "server" and now < spec.order.not_after else 0
    found = [
        Peer(
            interface(instance, link.number),
            link.peer_ipv4,
            link.peer_ipv6,
            link.peer_site == spec.site,
            link.ipv4 if link.number == serving else "",
            link.ipv4,
            link.ipv6,
        )
        for link in spec.links
    ]
    return tuple(sorted(found, key=lambda peer: peer.interface))


def _bound(
    instance: str, spec: LinkSpec, table: Table, out: Collection[str], sure: Collection[int]
) -> tuple[Bound, ...]:
    """Where a registry allots something twice, nobody's packets are bound by it."""
    networks = {site.site: (site.ipv4, site.ipv6) for site in table.sites if not {site.ipv4, site.ipv6} & {*out}}
    alone = set(_alone(net for nets in networks.values() for net in nets))
    found = []
    for name in sorted({link.peer_site for link in spec.links if link.peer_site != spec.site} & networks.keys()):
        links = sorted(link.number for link in spec.links if link.peer_site == name)
        if {*links} & {*sure} and {*networks[name]} <= alone:
            found.append(Bound(links[0], tuple(interface(instance, number) for number in links), networks[name]))
    return tuple(found)


def _alone(networks: Iterable[str]) -> Iterator[str]:
    """Those that overlap no other one."""
    ordered = sorted((net.version, int(net[0]), int(net[-1]), text) for text in networks for net in (parsed(text),))
    last = (0, -1)
    for index, (version, first, end, text) in enumerate(ordered):
        after = ordered[index + 1] if index + 1 < len(ordered) else (0, 0, 0, "")
        if (version, first) > last and (after[0] != version or after[1] > end):
            yield text
        last = max(last, (version, end))


def _overlap(wanted: Network, other: str) -> bool:
    return wanted.overlaps(parsed(other))


def _inside(address: str, networks: Iterable[str]) -> bool:
    return any(ipaddress.ip_address(address) in parsed(net) for net in networks)


@functools.lru_cache(65_536)
def parsed(text: str) -> Network:
    return ipaddress.ip_network(text, strict=False)
