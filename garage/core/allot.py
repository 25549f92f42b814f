"""What a registry hands out: AS numbers, prefixes, link numbers and addresses, ports, names. Nothing twice.

Pure: what is taken is an argument, and so is the randomness. The caller reads `taken` and writes the allotment in one transaction, behind
unique indexes; of two joins at the same time one finds its choice taken and asks again.
"""

from __future__ import annotations

import ipaddress
import random
import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Container, Iterable, Iterator
from dataclasses import dataclass

from garage.core import ipam
from garage.errors import N_, GarageError
from netd.wire.link import FIRST_ASN, LAST_ASN

SITE4, SITE6 = ipaddress.IPv4Network("10.0.0.0/8"), ipaddress.IPv6Network("fd00::/8")
BITS4, BITS6 = (12, 24), (40, 64)
"""Shortest and longest prefix of a site; netd refuses others (netd.core.overlay.RANGES)."""
SHARED4 = ipaddress.IPv4Network("100.64.0.0/10")
"""Shared address space (RFC 6598), where links are numbered: no site and hardly any uplink uses it."""
LINKS4 = "100.127.0.0/16"
LAST_NUMBER = 2_000_000_000
RESERVED_SITES = frozenset(
    {"home", "localhost", "registry", "garage", "internal", "local", "site", "sites", "all", "any", "new", "me"}
)
"""`home` is what every lone site is called; the rest are words of commands, addresses and the domain name system."""
SITE_LABEL = re.compile(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Ranges:
    """Networks of both families, to be asked what overlaps: sorted intervals, so that thousands cost a few comparisons."""

    def __init__(self, networks: Iterable[str]) -> None:
        parsed = {ipaddress.ip_network(text, strict=False) for text in networks}
        self._of = {version: _disjoint(net for net in parsed if net.version == version) for version in (4, 6)}
        self._starts = {version: [int(net.network_address) for net in nets] for version, nets in self._of.items()}

    def overlapping(self, network: Network) -> Network | None:
        """The first of the networks that shares an address with `network`."""
        nets, starts = self._of[network.version], self._starts[network.version]
        place = bisect_right(starts, int(network.network_address)) - 1
        if place >= 0 and nets[place].overlaps(network):
            return nets[place]
        place = bisect_left(starts, int(network.network_address))
        return nets[place] if place < len(nets) and nets[place].overlaps(network) else None


def _disjoint(networks: Iterable[Network]) -> list[Network]:
    """In order, without those that lie inside another (CIDR blocks overlap in no other way)."""
    found: list[Network] = []
    for net in sorted(networks, key=lambda net: (int(net.network_address), net.prefixlen)):
        if not found or not found[-1].overlaps(net):
            found.append(net)
    return found


@dataclass(frozen=True, slots=True)
class Prefixes:
    """A site's prefixes, and why they are not the proposed ones: "" where they are."""

    ipv4: str
    ipv6: str
    conflict4: str = ""
    conflict6: str = ""

    @property
    def kept(self) -> bool:
        return not (self.conflict4 or self.conflict6)


def prefixes(ipv4: str, ipv6: str, taken: Iterable[str], rng: random.Random) -> Prefixes:
    """The proposed /20 and /48 (or others within `BITS4`, `BITS6`), unless they overlap one of `taken`: allotted and reserved ones.

    Among the reserved are the ranges that links are numbered out of. A conflict names the network in the way; a substitute is a /20
    or a /48. Raises `invalid_field` for what no site may have, `no_address` when there is nothing left.
    """
    ranges = Ranges(taken)
    four, six = _site_prefix(ipv4, SITE4, BITS4, "ipv4"), _site_prefix(ipv6, SITE6, BITS6, "ipv6")
    clash4, clash6 = ranges.overlapping(four), ranges.overlapping(six)
    return Prefixes(
        ipv4=str(_free4(ranges, rng) if clash4 else four),
        ipv6=str(_free6(ranges, rng) if clash6 else six),
        conflict4=str(clash4 or ""),
        conflict6=str(clash6 or ""),
    )


def _site_prefix(text: str, whole: Network, bits: tuple[int, int], field: str) -> Network:
    try:
        net = ipaddress.ip_network(text)
    except ValueError:
        net = None
    if net is not None and bits[0] <= net.prefixlen <= bits[1] and _inside(net, whole):
        return net
    raise GarageError(
        "invalid_field",
        N_("{prefix} cannot be a site's prefix"),
        hint=N_("a site's prefix lies in {whole} and has {least} to {most} bits"),
        pointer=f"/{field}",
        prefix=text[:64],
        whole=str(whole),
        least=bits[0],
        most=bits[1],
    )


def _inside(net: Network, whole: Network) -> bool:
    return net.version == whole.version and net.subnet_of(whole)  # type: ignore[arg-type]


def _free4(ranges: Ranges, rng: random.Random) -> Network:
    """From a random place on, every /20 of 10.0.0.0/8 but the first is looked at once."""
    count = 1 << (ipam.SITE_BITS - SITE4.prefixlen)
    start = rng.randrange(count)
    for step in range(count):
        place = (start + step) % count
        net = ipaddress.IPv4Network((int(SITE4.network_address) + (place << (32 - ipam.SITE_BITS)), ipam.SITE_BITS))
        if place and ranges.overlapping(net) is None:
            return net
    raise GarageError(
        "no_address", N_("no free /20 is left in 10.0.0.0/8"), hint=N_("remove sites that are gone, or reserve less")
    )


def _free6(ranges: Ranges, rng: random.Random) -> Network:
    for _ in range(1000):
        net = ipaddress.IPv6Network(ipam.draw_ipv6(rng))
        if ranges.overlapping(net) is None:
            return net
    raise GarageError("no_address", N_("no free /48 was found in fd00::/8"), hint=N_("reserve less of it"))


def asn(taken: Container[int], rng: random.Random) -> int:
    """A random private AS number that is not taken: two registries that merge one day hardly clash (RFC 6996)."""
    count = LAST_ASN - FIRST_ASN + 1
    start = rng.randrange(count)
    for step in range(count):
        found = FIRST_ASN + (start + step) % count
        if found not in taken:
            return found
    raise GarageError("no_address", N_("no private AS number is left"))


def site_name(name: str, taken: Container[str]) -> str:
    """`name` if a site may have it: a DNS label, no reserved word, nobody's. Raises `invalid_field` or `already_exists`."""
    if not SITE_LABEL.fullmatch(name) or "--" in name:
        raise GarageError(
            "invalid_field",
            N_("“{name}” cannot be a site's name"),
            hint=N_("use 1 to 32 lower-case letters, digits and hyphens, beginning with a letter, e.g. tsukuba"),
            pointer="/name",
            name=name[:64],
        )
    if name in RESERVED_SITES:
        raise GarageError(
            "invalid_field",
            N_("“{name}” is a reserved word"),
            hint=N_("name the site after its place, e.g. tsukuba"),
            pointer="/name",
            name=name,
        )
    if name in taken:
        raise GarageError(
            "already_exists",
            N_("another site is called “{name}”"),
            hint=N_("choose another name"),
            pointer="/name",
            name=name,
        )
    return name


def link_numbers(highest: int, count: int) -> range:
    """`count` numbers above the highest that was ever given (0: none yet), which the registry remembers: none is used again."""
    if highest + count > LAST_NUMBER:
        raise GarageError("no_address", N_("all link numbers are used up"))
    return range(highest + 1, highest + 1 + count)


@dataclass(frozen=True, slots=True)
class LinkAddresses:
    """The two ends of a link, the lower first: a /31 (RFC 3021) and a /127 (RFC 6164)."""

    ipv4: tuple[str, str]
    ipv6: tuple[str, str]
    slot: int
    """Which pair of the range it is: what the registry stores, and gives to `taken`."""


def link_addresses(
    range4: str, range6: str, taken: Container[int], *, after: int = -1, reserved: Ranges | None = None
) -> Iterator[LinkAddresses]:
    """Free pairs, going round from the slot `after` so that a freed one rests; ends with `no_address`.

    `range4` e.g. `LINKS4`, `range6` a /64. The caller adds each slot that it uses to what is taken before it asks for the next.
    """
    net4, net6 = ipaddress.IPv4Network(range4), ipaddress.IPv6Network(range6)
    count = min(net4.num_addresses, net6.num_addresses) // 2
    for step in range(count):
        slot = (after + 1 + step) % count
        four = ipaddress.IPv4Network((int(net4.network_address) + 2 * slot, 31))
        if slot and slot not in taken and not (reserved and reserved.overlapping(four)):
            six = int(net6.network_address) + 2 * slot
            yield LinkAddresses(
                (str(four[0]), str(four[1])),
                (str(ipaddress.IPv6Address(six)), str(ipaddress.IPv6Address(six + 1))),
                slot,
            )
    raise GarageError(
        "no_address",
        N_("all {count} link addresses of {range} are in use"),
        hint=N_("give the registry a larger range for links"),
        count=count - 1,
        range=range4,
    )


def link_range6(ula: str, rng: random.Random) -> str:
    """A /64 for link addresses in the registry's own /48, never its first."""
    base = ipaddress.IPv6Network(ula)
    return str(ipaddress.IPv6Network((int(base.network_address) + (rng.randrange(1, 1 << 16) << 64), 64)))


def check_link_range4(text: str, sites: Ranges) -> str:
    """`text` if links can be numbered out of it: a /8 to /30 of private or shared space, clear of the sites. Raises `config`."""
    try:
        net = ipaddress.IPv4Network(text)
    except ValueError:
        net = None
    inside = net is not None and any(net.subnet_of(whole) for whole in (SHARED4, SITE4))
    if net is None or not inside or net.prefixlen > 30 or sites.overlapping(net):
        raise GarageError(
            "config",
            N_("links cannot be numbered out of {prefix}"),
            hint=N_("give a free network inside {whole}, e.g. {example}"),
            prefix=text[:64],
            whole=str(SHARED4),
            example=LINKS4,
        )
    return text


def port(first: int, count: int, taken: Collection[int], *, after: int | None = None) -> int:
    """A free UDP port of the node's range, going round from `after` so that a peer's late packets meet nobody else's link."""
    start = after - first + 1 if after is not None and first <= after < first + count else 0
    for step in range(count):
        found = first + (start + step) % count
        if found <= 65_535 and found not in taken:
            return found
    raise GarageError(
        "no_address",
        N_("all {count} UDP ports of the node from {first} on are in use"),
        hint=N_("join again with a larger range of ports"),
        count=count,
        first=first,
    )
