"""What a node's BGP is made of, for tests: a registry's documents with any sites, links and classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from netd.core.wanted import Wanted
from netd.wire import Allotment, Link, LinkSpec, Table
from netd.wire.link import FIRST_ASN

OWN = "own"
KEY = "A" * 42 + "A="


def allotment(name: str, number: int) -> Allotment:
    """Site number 1..: 10.NUMBER.0.0/20 (from 100 on in the next second byte) and fd00:NUMBER::/48."""
    ipv4 = f"10.{number % 250}.{16 * (number // 250)}"
    return Allotment(
        site=name,
        asn=FIRST_ASN + number,
        ipv4=f"{ipv4}.0/20",
        ipv6=f"fd00:{number:x}::/48",
        dns4=f"{ipv4}.1",
        dns6=f"fd00:{number:x}::1",
    )


def link(number: int, peer: str, asn: int, state: Literal["up", "draining"] = "up") -> Link:
    return Link(
        number=number,
        peer_site=peer,
        peer_node="node1",
        peer_asn=asn,
        ipv4=f"100.127.{number // 100}.{2 * (number % 100)}",
        peer_ipv4=f"100.127.{number // 100}.{2 * (number % 100) + 1}",
        ipv6=f"fd51::{2 * number:x}",
        peer_ipv6=f"fd51::{2 * number + 1:x}",
        own_key=1,
        peer_key=KEY,
        psk=KEY,
        port=51_820 + number,
        state=state,
    )


def wanted(
    instance: str,
    sites: Sequence[str],
    linked: Mapping[int, str],
    classes: Mapping[int, int] | None = None,
    draining: Sequence[int] = (),
    bfd_ms: int = 1000,
    sparing: Sequence[int] = (),
) -> Wanted:
    """`sites`: the others; `linked`: link number → the site that it leads to, or OWN for another node of this one."""
    allotted = {name: allotment(name, 2 + sum(ord(c) * 7**n for n, c in enumerate(name)) % 2000) for name in sites}
    own = allotment(OWN, 1)
    links = tuple(
        link(number, peer, (allotted | {OWN: own})[peer].asn, "draining" if number in draining else "up")
        for number, peer in linked.items()
    )
    spec = LinkSpec(site=OWN, node="node1", version=1, asn=own.asn, links=links, bfd_ms=bfd_ms)
    table = Table(version=1, domain="garage.internal", sites=(own, *allotted.values()))
    own4, own6, bridge = "10.1.0.1", "fd00:1::1", f"gb{instance}"
    return Wanted(instance, spec, table, own4, own6, bridge, dict(classes or {}), sparing=frozenset(sparing))
