"""What a registry's documents must hold before they are applied: a registry may err, or be in somebody else's hands."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from netd.core.floor import Floor
from netd.wire import Link, LinkSpec, SpecError, Table
from netd.wire.link import SCHEMA

LINK_RANGE = ipaddress.ip_network("100.64.0.0/10"), ipaddress.ip_network("fd00::/8")
"""Shared address space (RFC 6598) and ULA: no office, uplink or site can lose a route to a link's own addresses."""


def check_link_spec(spec: LinkSpec, *, site: str, node: str, in_force: int, ports: range, floor: Floor) -> None:
    """Raises SpecError: "schema", "node", "version", or "content" for a spec that contradicts itself, this node or its floor."""
    _check_schema(spec.schema)
    if (spec.site, spec.node) != (site, node):
        raise SpecError("node", f"the spec is for {spec.node} of {spec.site}, this is {node} of {site}")
    _check_version(spec.version, in_force)
    for link in spec.links:
        if link.port not in ports:
            raise SpecError("content", f"link {link.number} listens on {link.port}, outside of {ports[0]}-{ports[-1]}")
        _check_addresses(link, floor)
    if spec.order and spec.order.link not in {link.number for link in spec.links}:
        raise SpecError("content", f"link {spec.order.link} is to be measured, but there is none")
    _unique("number", [link.number for link in spec.links])
    _unique("port", [link.port for link in spec.links])
    _unique("address", [address for link in spec.links for address in (link.ipv4, link.ipv6)])


def check_table(table: Table, *, site: str, in_force: int) -> None:
    """Raises SpecError: "schema", "version", or "content" for names, numbers or prefixes that are there twice."""
    _check_schema(table.schema)
    _check_version(table.version, in_force)
    _unique("site", [entry.site for entry in table.sites])
    _unique("ASN", [entry.asn for entry in table.sites])
    for entry in table.sites:
        for prefix, server in ((entry.ipv4, entry.dns4), (entry.ipv6, entry.dns6)):
            _parsed(prefix)
            _address(server)
    if site not in {entry.site for entry in table.sites}:
        raise SpecError("content", f"the table has no site {site}")


def _check_schema(schema: int) -> None:
    if schema != SCHEMA:
        raise SpecError("schema", f"schema {schema}; this netd knows {SCHEMA}")


def _check_version(version: int, in_force: int) -> None:
    if version < in_force:
        raise SpecError("version", f"version {version} is older than {in_force}, which is in force")


def _check_addresses(link: Link, floor: Floor) -> None:
    """Both ends are neighbours in the link range, and no closed network would be led into the tunnel."""
    for own, peer, length, allowed in (
        (link.ipv4, link.peer_ipv4, 31, LINK_RANGE[0]),
        (link.ipv6, link.peer_ipv6, 127, LINK_RANGE[1]),
    ):
        net = _parsed(f"{own}/{length}")
        if own == peer or _address(peer) not in net:
            raise SpecError("content", f"link {link.number}: {own} and {peer} are not the two ends of a /{length}")
        if not net.subnet_of(allowed):  # type: ignore[arg-type]
            raise SpecError("content", f"link {link.number}: {own} is outside of {allowed}")
        closed = next((text for text in floor.networks if _overlap(text, net)), None)
        if closed:
            raise SpecError("content", f"link {link.number}: {own} lies in {closed}, which is closed on this server")


def _overlap(text: str, net: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    other = ipaddress.ip_network(text)
    return other.version == net.version and other.overlaps(net)


def _parsed(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise SpecError("content", str(error)) from None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError as error:
        raise SpecError("content", str(error)) from None


def _unique(what: str, values: Iterable[str | int]) -> None:
    seen: set[str | int] = set()
    for value in values:
        if value in seen:
            raise SpecError("content", f"the {what} {value} is there twice")
        seen.add(value)
