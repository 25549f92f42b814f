"""Which address belongs where: the same topology always gets the same ones, all from networks that the internet does not route.

| network | who |
|---|---|
| 192.0.2.1, 192.0.2.2, 2001:db8::1, 2001:db8::2 | the internet itself: two hosts to speak to |
| 192.0.2.64/26 and on, a /30 each; 2001:db8:ffff:C::/64 | between the internet and carrier C |
| 203.0.113.0/24, a /30 each; 2001:db8:N::/64 | line N, from 1; .1 of it is the far end, .2 the site's |
| 100.64.N.0/30 (RFC 6598) | the same for a line behind a carrier's NAT |
| 198.51.100.0/24, a /28 each; 100.64.N.16/28 | the site's side of a router without NAT |
| 192.168.N.0/24 | the site's side of a NAT |
| 2001:db8:N:1::/64 | the site's side of any router |

Documentation networks: RFC 5737, RFC 3849.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

from netd.errors import NetdError
from netd.lab.model import Line, Site, Topology

HOSTS4 = ("192.0.2.1", "192.0.2.2")
HOSTS6 = ("2001:db8::1", "2001:db8::2")
MAX_PUBLIC_LANS = 16

Interface = IPv4Interface | IPv6Interface


@dataclass(frozen=True, slots=True)
class Segment:
    """One wire: its networks (None: not spoken there)."""

    ipv4: IPv4Network | None
    ipv6: IPv6Network | None

    def host(self, number: int) -> tuple[Interface, ...]:
        """Address `number` of each family, with the network's mask."""
        nets = [net for net in (self.ipv4, self.ipv6) if net]
        return tuple(_interface(net, number) for net in nets)


@dataclass(frozen=True, slots=True)
class LinePlace:
    """A line with its number and addresses."""

    number: int
    site: Site
    line: Line
    wire: Segment
    """Between the far end (host 1) and the site's end (host 2)."""
    lan: Segment | None
    """Behind the site's router: host 1 is the router, 10 + i (in a /28: 2 + i) the site's node i. None: no router, one node."""

    @property
    def routed6(self) -> IPv6Network:
        """All IPv6 of the line."""
        return IPv6Network((int(IPv6Address(f"2001:db8:{self.number:x}::")), 48))

    def node(self, index: int) -> tuple[Interface, ...]:
        """Addresses of the site's node `index` on this line."""
        if self.lan is None:
            return self.wire.host(2)
        first = 2 if self.lan.ipv4 and self.lan.ipv4.prefixlen == 28 else 10
        return self.lan.host(first + index)

    def gateways(self) -> tuple[Interface, ...]:
        """The nodes' next hops."""
        return (self.lan or self.wire).host(1)

    def outside4(self, index: int) -> str | None:
        """The IPv4 address by which others see the site's node `index`; None: no IPv4, or one that a carrier shares out."""
        shown = self.wire.host(2) if self.line.nat else self.node(index)
        return next((str(a.ip) for a in shown if a.version == 4 and not self.line.carrier), None)


def lay_out(topology: Topology) -> tuple[LinePlace, ...]:
    """Every line with its addresses, in the topology's order."""
    places: list[LinePlace] = []
    public = 0
    for site in topology.sites:
        for line in site.lines:
            number = len(places) + 1
            routed = bool(line.nat) or len(site.nodes) > 1
            places.append(
                LinePlace(number, site, line, _wire(number, line), _lan(number, line, public) if routed else None)
            )
            public += bool(routed and line.ipv4 and not line.nat and not line.carrier)
    if public > MAX_PUBLIC_LANS:
        raise NetdError(
            "config", f"more than {MAX_PUBLIC_LANS} sites of several nodes without NAT", hint="give some a NAT"
        )
    return tuple(places)


def carrier_wire(index: int) -> Segment:
    """Between the internet (host 1) and carrier `index`, from 0 (host 2)."""
    ipv4 = IPv4Network((int(IPv4Address("192.0.2.64")) + 4 * index, 30))
    return Segment(ipv4, IPv6Network((int(IPv6Address(f"2001:db8:ffff:{index:x}::")), 64)))


def _wire(number: int, line: Line) -> Segment:
    first = IPv4Address(f"100.64.{number}.0") if line.carrier else IPv4Address("203.0.113.0") + 4 * number
    ipv6 = IPv6Network((int(IPv6Address(f"2001:db8:{number:x}::")), 64))
    return Segment(IPv4Network((int(first), 30)) if line.ipv4 else None, ipv6 if line.ipv6 else None)


def _lan(number: int, line: Line, public: int) -> Segment:
    if line.nat:
        ipv4 = IPv4Network(f"192.168.{number}.0/24")
    elif line.carrier:
        ipv4 = IPv4Network(f"100.64.{number}.16/28")
    else:
        ipv4 = IPv4Network((int(IPv4Address("198.51.100.0")) + 16 * (public % MAX_PUBLIC_LANS), 28))
    ipv6 = IPv6Network((int(IPv6Address(f"2001:db8:{number:x}:1::")), 64))
    return Segment(ipv4 if line.ipv4 else None, ipv6 if line.ipv6 else None)


def _interface(net: IPv4Network | IPv6Network, number: int) -> Interface:
    if isinstance(net, IPv4Network):
        return IPv4Interface((int(net.network_address) + number, net.prefixlen))
    return IPv6Interface((int(net.network_address) + number, net.prefixlen))
