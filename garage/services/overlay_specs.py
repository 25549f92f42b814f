"""LinkSpec and Table, built whole from the database and sealed; the Table is built once per version for all nodes."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from garage.core import ipam
from garage.db.overlay_models import Counter, Link, NodeKey, Site, SiteNode
from garage.services import measurements, own_site
from garage.services.context import Context
from garage.services.overlay_links import of_nodes
from garage.services.overlay_state import BFD_MS, link_addresses, links6, setting
from netd import wire

_TABLES: dict[str, tuple[int, bytes]] = {}
"""By the registry's public key: (version, sealed Table). 1,000 nodes ask for the same one after a join."""
_BUILDING = threading.Lock()


def sealed_spec(session: Session, ctx: Context, node: SiteNode) -> bytes:
    return wire.seal(build_spec(session, ctx, node), ctx.controller_key)


def build_spec(session: Session, ctx: Context, node: SiteNode) -> wire.LinkSpec:
    """All that the registry wants of one node."""
    links = of_nodes(session, [node.id])
    ends = {end for link in links for end in (link.a_id, link.b_id)} | {node.id}
    query = select(SiteNode, Site).join(Site, Site.id == SiteNode.site_id).where(SiteNode.id.in_(ends))
    nodes = {found.id: (found, site) for found, site in session.execute(query)}
    keys = {
        (key.node_id, key.number): key.key for key in session.scalars(select(NodeKey).where(NodeKey.node_id.in_(ends)))
    }
    site, net6 = nodes[node.id][1], links6(ctx)
    return wire.LinkSpec(
        site=site.name,
        node=node.name,
        version=node.spec_version,
        asn=site.asn,
        want_key=node.want_key,
        bfd_ms=setting(session, BFD_MS),
        links=tuple(_link(ctx, link, node.id, link_addresses(net6, link.slot), nodes, keys) for link in links),
        order=measurements.order_of(session, node.id, {link.number for link in links}),
    )


def _link(
    ctx: Context,
    link: Link,
    node_id: str,
    addresses: tuple[tuple[str, str], tuple[str, str]],
    nodes: Mapping[str, tuple[SiteNode, Site]],
    keys: Mapping[tuple[str, int], str],
) -> wire.Link:
    """As end `node_id` sees it."""
    at_a = link.a_id == node_id
    own, peer = addresses[:: 1 if at_a else -1]
    peer_node, peer_site = nodes[link.b_id if at_a else link.a_id]
    return wire.Link(
        number=link.number,
        peer_site=peer_site.name,
        peer_node=peer_node.name,
        peer_asn=peer_site.asn,
        ipv4=own[0],
        peer_ipv4=peer[0],
        ipv6=own[1],
        peer_ipv6=peer[1],
        own_key=link.a_key if at_a else link.b_key,
        peer_key=keys[(peer_node.id, link.b_key if at_a else link.a_key)],
        psk=ctx.vault.unlock(link.psk).decode(),
        port=link.a_port if at_a else link.b_port,
        endpoints=tuple(link.b_endpoints if at_a else link.a_endpoints),
        state="draining" if link.state == "draining" else "up",
    )


def table_version(session: Session) -> int:
    return session.get_one(Counter, "table").value


def sealed_table(session: Session, ctx: Context) -> bytes:
    version, registry = table_version(session), ctx.controller_key.public_key().public_bytes_raw().hex()
    with _BUILDING:
        known = _TABLES.get(registry)
        if known is None or known[0] != version:
            known = _TABLES[registry] = version, wire.seal(build_table(session, ctx), ctx.controller_key)
        return known[1]


def build_table(session: Session, ctx: Context) -> wire.Table:
    """The allotments of all sites, in order of their names."""
    sites = session.scalars(select(Site).order_by(Site.name))
    return wire.Table(
        version=table_version(session),
        domain=own_site.current(session, ctx).domain,
        sites=tuple(_allotment(site) for site in sites),
    )


def _allotment(site: Site) -> wire.Allotment:
    return wire.Allotment(
        site=site.name,
        asn=site.asn,
        ipv4=site.ipv4,
        ipv6=site.ipv6,
        dns4=ipam.gateway(site.ipv4),
        dns6=ipam.gateway(site.ipv6),
    )
