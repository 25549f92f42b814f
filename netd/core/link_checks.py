"""What a registry's documents must hold before they are applied: a registry may err, or be in somebody else's hands."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Mapping

from msgspec.structs import replace

from netd.core.floor import Network
from netd.wire import Link, LinkSpec, SpecError, Table
from netd.wire.link import SCHEMA

LINK_RANGE = ipaddress.ip_network("100.64.0.0/10"), ipaddress.ip_network("fd00::/8")
"""Shared address space (RFC 6598) and ULA: no office, uplink or site can lose a route to a link's own addresses."""

PRIVATE = ("internal", "home.arpa", "test", "home", "corp", "lan", "intranet", "private")
"""Under these nobody registers names: ICANN's word (2018, 2024), RFC 8375, RFC 6761, and what is in private use (RFC 6762, appendix G)."""


def check_link_spec(
    spec: LinkSpec, *, site: str, node: str, in_force: int, ports: range, closed: Mapping[str, str]
) -> None:
    """Raises SpecError: "schema", "node", "version", or "content" for a spec that contradicts itself or this node. `closed`: networks
    that no link's own addresses may lie in, each with what it is."""
    _check_schema(spec.schema)
    if (spec.site, spec.node) != (site, node):
        raise SpecError("node", f"the spec is for {spec.node} of {spec.site}, this is {node} of {site}")
    _check_version(spec.version, in_force)
    for link in spec.links:
        if link.port not in ports:
            raise SpecError("content", f"link {link.number} listens on {link.port}, outside of {ports[0]}-{ports[-1]}")
        _check_addresses(link, closed)
        _check_endpoints(link)
    if spec.order and spec.order.link not in {link.number for link in spec.links}:
        raise SpecError("content", f"link {spec.order.link} is to be measured, but there is none")
    _unique("number", [link.number for link in spec.links])
    _unique("port", [link.port for link in spec.links])
    _unique("address", [address for link in spec.links for address in (link.ipv4, link.ipv6)])


def check_domain(domain: str, *, own: str, confirmed: str) -> None:
    """Raises SpecError("domain") for a network's domain in which names may be somebody else's: this server lets other sites answer for all
    that ends in SITE.DOMAIN, so a site called google in com would be asked in google.com's place. `own`: the server's own domain, also of
    the form SITE.DOMAIN; `confirmed`: what its operator has named."""
    beyond = own.partition(".")[2]
    private = any(f".{domain}".endswith(f".{suffix}") for suffix in PRIVATE)
    if not private and domain not in (own, confirmed) and not (domain == beyond and "." in domain):
        raise SpecError("domain", f"the network's domain is {domain}, in which names may be others'")


def check_asns(spec: LinkSpec, table: Table) -> None:
    """Raises SpecError("content") for an AS number that is not its site's, so that nobody is made one of this site's own nodes by a number:
    those are trusted with this site's addresses. A site that the Table does not know may have no known one's number."""
    allotted = {entry.site: entry.asn for entry in table.sites}
    known = {*allotted.values()}
    if spec.asn != allotted.get(spec.site, spec.asn):
        raise SpecError("content", f"this site is AS {spec.asn}, the table says {allotted[spec.site]}")
    for link in spec.links:
        who, asn = f"link {link.number}: {link.peer_site}", link.peer_asn
        if (asn == spec.asn) != (link.peer_site == spec.site):
            what = "not this very site, and yet" if asn == spec.asn else "this very site, and yet not"
            raise SpecError("content", f"{who} is {what} AS {spec.asn}")
        if asn != allotted.get(link.peer_site, asn):
            raise SpecError("content", f"{who} is AS {asn}, the table says {allotted[link.peer_site]}")
        if link.peer_site not in allotted and asn in known:
            raise SpecError("content", f"{who} is AS {asn}, which is another site's")


def without_strangers(spec: LinkSpec, peers: Collection[str]) -> tuple[LinkSpec, tuple[str, ...]]:
    """The spec without links to nodes that the registry calls this site's own and `peers`, what the server's root or its controller has
    named, does not; and what is to be said of them. Such a node would speak with this site's addresses, also while other sites' traffic is
    stopped."""
    strange = [link for link in spec.links if link.peer_site == spec.site and link.peer_node not in peers]
    if not strange:
        return spec, ()
    gone = {link.number for link in strange}
    order = spec.order if spec.order and spec.order.link not in gone else None
    kept = replace(spec, links=tuple(link for link in spec.links if link.number not in gone), order=order)
    names = sorted({link.peer_node for link in strange})
    said = "of this very site: neither its controller nor “peers” in netd.toml names it"
    return kept, tuple(f"node {name} {said}" for name in names)


def without_closed(spec: LinkSpec, closed: Iterable[str], near: Iterable[str], office: Iterable[str] = ()) -> LinkSpec:
    """The spec without endpoints in `closed` networks, so that no registry makes this server knock at an office's doors. The uplink's own
    networks, `near`, are no closed ones here, as a peer may be beside this server, but for what of them the server's root has closed by
    name, `office`."""
    named, beside, shut = ([_parsed(net) for net in nets] for nets in (office, near, closed))

    def open_to(endpoint: str) -> bool:
        address = _host(endpoint)
        if any(address in net for net in named):
            return False
        return any(address in net for net in beside) or not any(address in net for net in shut)

    links = tuple(
        link if all(map(open_to, link.endpoints)) else replace(link, endpoints=tuple(filter(open_to, link.endpoints)))
        for link in spec.links
    )
    return spec if links == spec.links else replace(spec, links=links)


def check_table(table: Table, *, site: str, in_force: int, domain: str) -> None:
    """Raises SpecError: "schema", "version", or "content" for names or numbers that are there twice, texts that FRR would write otherwise,
    or another domain than `domain`, which was in force when this node joined: whoever names it decides whose names are asked for."""
    _check_schema(table.schema)
    _check_version(table.version, in_force)
    if table.domain != domain:
        raise SpecError("content", f"the domain is {table.domain} all at once, it was {domain}")
    _unique("site", [entry.site for entry in table.sites])
    _unique("ASN", [entry.asn for entry in table.sites])
    for entry in table.sites:
        for prefix, server in ((entry.ipv4, entry.dns4), (entry.ipv6, entry.dns6)):
            if str(_parsed(prefix)) != prefix:
                raise SpecError("content", f"{entry.site}'s {prefix} is not written as a prefix is")
            _address(server)
    if site not in {entry.site for entry in table.sites}:
        raise SpecError("content", f"the table has no site {site}")


def _check_schema(schema: int) -> None:
    if schema != SCHEMA:
        raise SpecError("schema", f"schema {schema}; this netd knows {SCHEMA}")


def _check_version(version: int, in_force: int) -> None:
    if version < in_force:
        raise SpecError("version", f"version {version} is older than {in_force}, which is in force")


def _check_addresses(link: Link, closed: Mapping[str, str]) -> None:
    """Both ends are neighbours in the link range, and no network that is somebody's would be led into the tunnel."""
    for own, peer, length, allowed in (
        (link.ipv4, link.peer_ipv4, 31, LINK_RANGE[0]),
        (link.ipv6, link.peer_ipv6, 127, LINK_RANGE[1]),
    ):
        net = _parsed(f"{own}/{length}")
        if own == peer or _address(peer) not in net:
            raise SpecError("content", f"link {link.number}: {own} and {peer} are not the two ends of a /{length}")
        if not net.subnet_of(allowed):  # type: ignore[arg-type]
            raise SpecError("content", f"link {link.number}: {own} is outside of {allowed}")
        if other := next((text for text in closed if _overlap(text, net)), None):
            raise SpecError("content", f"link {link.number}: {own} lies in {other}, which is {closed[other]}")
        if {own, peer} != {str(_address(own)), str(_address(peer))}:
            raise SpecError("content", f"link {link.number}: {own} or {peer} is not written as an address is")


def _check_endpoints(link: Link) -> None:
    """A peer may live in a private network beside this server, but on no address that means this server or everybody."""
    for endpoint in link.endpoints:
        address, port = _host(endpoint), endpoint.rpartition(":")[2]
        nowhere = address.is_loopback or address.is_unspecified or address.is_multicast or address.is_link_local
        if nowhere or str(address) == "255.255.255.255" or not 0 < int(port) < 65_536:
            raise SpecError("content", f"link {link.number}: nobody else can be at {endpoint}")


def _host(endpoint: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = _address(endpoint.rpartition(":")[0].strip("[]"))
    return getattr(address, "ipv4_mapped", None) or address


def _overlap(text: str, net: Network) -> bool:
    other = ipaddress.ip_network(text)
    return other.version == net.version and other.overlaps(net)


def _parsed(text: str) -> Network:
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
