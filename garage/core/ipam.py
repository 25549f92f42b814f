"""Addresses: the site's prefixes and the machines' addresses in them."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Collection, Iterable, Iterator

from garage.errors import N_, GarageError

IPV4_POOL = ipaddress.IPv4Network("10.0.0.0/8")
SITE_BITS = 20
"""A site's IPv4 prefix: 4,094 addresses."""
FIRST_MACHINE = 16
"""Addresses below are kept for the gateway (1) and later services of the site."""


def draw_ipv4(rng: random.Random, taken: Iterable[str]) -> str:
    """A random /20 in 10.0.0.0/8 clear of `taken` (the uplink's networks, resolvers, office networks; address or CIDR)."""
    networks = [net for net in (ipaddress.ip_network(text, strict=False) for text in taken) if net.version == 4]
    for _ in range(10_000):
        candidate = ipaddress.IPv4Network((int(IPV4_POOL.network_address) + (rng.randrange(1, 4095) << 12), SITE_BITS))
        if not any(candidate.overlaps(net) for net in networks):
            return str(candidate)
    raise GarageError("no_address", N_("no free /20 is left in 10.0.0.0/8"), hint=N_("set site_ipv4 in garage.toml"))


def draw_ipv6(rng: random.Random) -> str:
    """A ULA /48 with a random 40-bit global ID (RFC 4193, section 3.2)."""
    return str(ipaddress.IPv6Network(((0xFD << 120) | (rng.getrandbits(40) << 80), 48)))


def gateway(prefix: str) -> str:
    """The gateway's address: the first of the prefix."""
    return str(ipaddress.ip_network(prefix)[1])


def capacity(prefix4: str) -> int:
    """How many machines the site's IPv4 prefix can address."""
    return ipaddress.ip_network(prefix4).num_addresses - FIRST_MACHINE - 1


def walk(prefix4: str, prefix6: str, *, after: str | None = None) -> Iterator[tuple[str, str]]:
    """Every address pair of the site once, going round from `after` so that a freed address rests; the IPv6 mirrors the IPv4's offset."""
    net4, net6 = ipaddress.IPv4Network(prefix4), ipaddress.IPv6Network(prefix6)
    count = capacity(prefix4)
    start = int(ipaddress.IPv4Address(after)) - int(net4.network_address) - FIRST_MACHINE + 1 if after else 0
    for step in range(count):
        offset = FIRST_MACHINE + (start + step) % count
        yield str(net4[offset]), str(net6[offset])


def allot(prefix4: str, prefix6: str, used4: Collection[str], *, after: str | None = None) -> tuple[str, str]:
    """The next free address pair."""
    for pair in walk(prefix4, prefix6, after=after):
        if pair[0] not in used4:
            return pair
    raise full(prefix4)


def full(prefix4: str) -> GarageError:
    return GarageError(
        "no_address",
        N_("all {count} addresses of {prefix} are in use"),
        hint=N_("delete machines that nobody needs"),
        count=capacity(prefix4),
        prefix=prefix4,
    )
