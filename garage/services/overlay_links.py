"""Links as rows: made, removed, and their endpoints kept; versions are raised for exactly the nodes whose specs changed."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from garage.core import allot, endpoints
from garage.core.topology_types import Way
from garage.db.overlay_models import Link, LinkEnd, NodeKey, SiteNode
from garage.services.context import Context
from garage.services.overlay_state import draw, links6, lock

SPARE = 10
"""One port in so many is kept free, so that a rotation finds one."""


@dataclass(slots=True)
class Changes:
    """What a transaction did to links, for `raise_versions`."""

    nodes: set[str] = field(default_factory=set)
    made: int = 0
    removed: int = 0


def of_nodes(session: Session, nodes: Iterable[str]) -> list[Link]:
    """All links that end at one of these nodes, in order."""
    ids = list(nodes)
    query = select(Link).where(or_(Link.a_id.in_(ids), Link.b_id.in_(ids)))
    return list(session.scalars(query.order_by(Link.number)))


def limit(node: SiteNode, most: int) -> int:
    """How many links the node's ports allow, at most `most`."""
    return min(most, max(1, node.ports - max(1, node.ports // SPARE)))


class Maker:
    """Makes links within one transaction; what is taken is read once."""

    def __init__(self, session: Session, ctx: Context, changes: Changes) -> None:
        lock(session)
        self._session, self._ctx, self._changes = session, ctx, changes
        self._slots = set(session.scalars(select(Link.slot)))
        last = session.scalar(select(Link.slot).order_by(Link.number.desc()).limit(1))
        self._free = allot.link_addresses(
            allot.LINKS4, str(links6(ctx)), self._slots, after=-1 if last is None else last
        )

    def make(self, one: SiteNode, other: SiteNode, reason: str, *, replaces: int | None = None) -> Link | None:
        """A link with numbers, addresses, ports and a pre-shared key of its own; None where a node has no port left."""
        a, b = sorted((one, other), key=lambda node: node.id)
        a_port, b_port = self._port(a), self._port(b)
        if a_port is None or b_port is None:
            return None
        link = Link(
            number=draw(self._session, "link"),
            slot=self._slot(),
            a_id=a.id,
            b_id=b.id,
            a_port=a_port,
            b_port=b_port,
            a_key=self._newest(a),
            b_key=self._newest(b),
            a_endpoints=reach(a, b, a_port),
            b_endpoints=reach(b, a, b_port),
            psk=self._ctx.vault.lock(base64.b64encode(self._ctx.rng.randbytes(32))),
            state="up",
            reason=reason,
            replaces=replaces,
            created_at=self._ctx.clock(),
        )
        self._session.add(link)
        self._session.flush()
        self._changes.nodes |= {a.id, b.id}
        self._changes.made += 1
        return link

    def _slot(self) -> int:
        slot = next(self._free).slot
        self._slots.add(slot)
        return slot

    def _port(self, node: SiteNode) -> int | None:
        query = select(Link.a_id, Link.a_port, Link.b_port).where(or_(Link.a_id == node.id, Link.b_id == node.id))
        used = [
            row.a_port if row.a_id == node.id else row.b_port
            for row in self._session.execute(query.order_by(Link.number))
        ]
        if len(used) >= node.ports:
            return None
        return allot.port(node.port, node.ports, set(used), after=used[-1] if used else None)

    def _newest(self, node: SiteNode) -> int:
        number = self._session.scalar(select(func.max(NodeKey.number)).where(NodeKey.node_id == node.id))
        return number or 1


def remove(session: Session, links: Iterable[Link], changes: Changes) -> None:
    """Both ends get specs without them."""
    found = list(links)
    numbers = [link.number for link in found]
    session.execute(delete(LinkEnd).where(LinkEnd.number.in_(numbers)))
    session.execute(delete(Link).where(Link.number.in_(numbers)))
    for link in found:
        changes.nodes |= {link.a_id, link.b_id}
    changes.removed += len(found)


def reach(node: SiteNode, peer: SiteNode, port: int) -> list[str]:
    """Where `peer` may find `node`."""
    near = bool(node.outside4) and node.outside4 == peer.outside4
    seen = [endpoints.Outside(node.outside6, _way(node.way6)), endpoints.Outside(node.outside4, _way(node.way4))]
    return endpoints.endpoints(node.addresses, seen, port, near=near)


def _way(text: str) -> Way:
    """As stored by us alone."""
    return cast(Way, text)


def refresh_endpoints(session: Session, node: SiteNode, changes: Changes) -> None:
    """After `node` has moved or was seen elsewhere: its peers, and only those to whom it makes a difference, are told."""
    links = of_nodes(session, [node.id])
    others = {link.b_id if link.a_id == node.id else link.a_id for link in links}
    peers = {peer.id: peer for peer in session.scalars(select(SiteNode).where(SiteNode.id.in_(others)))}
    for link in links:
        if link.a_id == node.id:
            found = reach(node, peers[link.b_id], link.a_port)
            if found != link.a_endpoints:
                link.a_endpoints = found
                changes.nodes.add(link.b_id)
        else:
            found = reach(node, peers[link.a_id], link.b_port)
            if found != link.b_endpoints:
                link.b_endpoints = found
                changes.nodes.add(link.a_id)
