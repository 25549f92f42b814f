"""The floor: what no specification can open. Reading the root-owned files that add to it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from netd.errors import NetdError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

SPECIAL4 = (
    *(
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
    ),
    *("192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4"),
)
"""RFC 6890, section 2.2.2; the limited broadcast lies in 240.0.0.0/4."""
SPECIAL6 = (
    *(
        "::/128",
        "::1/128",
        "::ffff:0:0/96",
        "64:ff9b::/96",
        "100::/64",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "fc00::/7",
        "fe80::/10",
    ),
)
"""RFC 6890, section 2.2.3; a NAT64 would lead around the IPv4 list. TEREDO, ORCHID and benchmarking lie in 2001::/23."""
MULTICAST = ("224.0.0.0/4", "ff00::/8")
"""Not in RFC 6890, and never forwarded."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """A single address that machines may reach in spite of the floor, on one port."""

    address: str
    protocol: str
    port: int


@dataclass(frozen=True, slots=True)
class Floor:
    """The node's own additions: networks it stands in or that are office, and the few exceptions. CIDRs, sorted."""

    networks: tuple[str, ...] = ()
    allowed: tuple[Allowed, ...] = ()

    def of(self, version: int) -> tuple[str, ...]:
        """All forbidden networks of an IP version, merged so that they can be intervals of one set."""
        every = (*SPECIAL4, *SPECIAL6, *MULTICAST, *self.networks)
        chosen = [net for net in map(ipaddress.ip_network, every) if net.version == version]
        return tuple(str(net) for net in ipaddress.collapse_addresses(chosen))  # type: ignore[type-var]


def make_floor(networks: Iterable[str], allowed: Iterable[Allowed]) -> Floor:
    unique = {ipaddress.ip_network(net, strict=False) for net in networks}
    ordered = sorted(unique, key=lambda net: (net.version, int(net.network_address), net.prefixlen))
    return Floor(
        tuple(str(net) for net in ordered), tuple(sorted(set(allowed), key=lambda a: (a.address, a.protocol, a.port)))
    )


def parse_networks(text: str, *, name: str) -> list[str]:
    """One network or address per line, `#` begins a comment."""
    return [str(_network(line, name, number)) for number, line in _lines(text)]


def parse_allowed(text: str, *, name: str) -> list[Allowed]:
    """Lines of "ADDRESS tcp|udp PORT", e.g. "10.1.2.3 tcp 443"."""
    found = []
    for number, line in _lines(text):
        parts = line.split()
        if (
            len(parts) != 3
            or parts[1] not in ("tcp", "udp")
            or not parts[2].isdigit()
            or not 0 < int(parts[2]) < 65_536
        ):
            raise NetdError(
                "config",
                f"{name}, line {number}: “{line[:60]}”",
                hint="write “ADDRESS tcp PORT”, e.g. “10.1.2.3 tcp 443”",
            )
        network = _network(parts[0], name, number)
        if network.num_addresses != 1:
            raise NetdError(
                "config", f"{name}, line {number}: {parts[0]} is a network", hint="only single addresses can be allowed"
            )
        found.append(Allowed(str(network.network_address), parts[1], int(parts[2])))
    return found


def _lines(text: str) -> list[tuple[int, str]]:
    stripped = ((number, line.split("#", 1)[0].strip()) for number, line in enumerate(text.splitlines(), 1))
    return [(number, line) for number, line in stripped if line]


def _network(text: str, name: str, number: int) -> Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise NetdError(
            "config", f"{name}, line {number}: “{text[:60]}” is no network", hint="write e.g. 192.168.10.0/24"
        ) from None
