"""A machine's place in the network, which is fixed before it boots."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from garage.core import ipam, names
from garage.core.states import State
from garage.db.models import Machine, Node
from garage.services import own_site
from garage.services.context import Context


def allot(session: Session, ctx: Context, node: Node) -> dict[str, object]:
    """Number, addresses, MAC and tap of a new machine on `node`; the node's spec gets a new version with them."""
    used = set(session.scalars(select(Machine.ipv4).where(Machine.state != State.GONE.value)))
    last = session.scalar(select(Machine.ipv4).order_by(Machine.id.desc()).limit(1))
    ipv4, ipv6 = ipam.allot(*own_site.prefixes(session, ctx), used, after=last)
    number = node.next_number
    node.next_number += 1
    node.spec_version += 1
    instance = ctx.config.instance
    return {
        "node": node.name,
        "number": number,
        "ipv4": ipv4,
        "ipv6": ipv6,
        "mac": names.mac(instance, number),
        "tap": names.tap(instance, number),
        "spec_version": node.spec_version,
    }
