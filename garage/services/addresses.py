"""A machine's place in the network, which is fixed before it boots."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from garage.core import ipam, names
from garage.core.states import State
from garage.db.models import Machine, Node, Setting
from garage.services import own_site
from garage.services.context import Context

NEXT_NUMBER = "next_number"


def take_numbers(session: Session, count: int) -> range:
    """The next numbers of taps and MACs. The garage has one row of them, since a machine keeps both when it moves to another node."""
    row = session.get(Setting, NEXT_NUMBER)
    if row is None:
        row = Setting(key=NEXT_NUMBER, value="1")
        session.add(row)
    first = int(row.value)
    row.value = str(first + count)
    return range(first, first + count)


def allot(session: Session, ctx: Context, node: Node) -> dict[str, object]:
    """Number, addresses, MAC and tap of a new machine on `node`; the node's spec gets a new version with them."""
    used = set(session.scalars(select(Machine.ipv4).where(Machine.state != State.GONE.value)))
    last = session.scalar(select(Machine.ipv4).order_by(Machine.id.desc()).limit(1))
    ipv4, ipv6 = ipam.allot(*own_site.prefixes(session, ctx), used, after=last)
    number = take_numbers(session, 1)[0]
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
