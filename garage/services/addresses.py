"""A machine's place in the network, which is fixed before it boots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

from sqlalchemy import select
from sqlalchemy.orm import Session

from garage.core import ipam, names
from garage.db.models import Machine, Setting
from garage.services import own_site
from garage.services.capacity import EXISTS
from garage.services.context import Context
from garage.services.specs import raise_specs

LOOK = 16
"""Addresses that are looked up at once, at first: mostly the next one is free."""
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


def allot(session: Session, ctx: Context, node: str) -> dict[str, object]:
    """Number, addresses, MAC and tap of a new machine on `node`; the node's spec gets a new version with them."""
    return allot_many(session, ctx, [node], raise_specs(session, [node]))[0]


def allot_many(
    session: Session, ctx: Context, nodes: Sequence[str], versions: Mapping[str, int]
) -> list[dict[str, object]]:
    """The same for several machines, on these nodes, whose specs have these new versions."""
    pairs, numbers = _free(session, ctx, len(nodes)), take_numbers(session, len(nodes))
    instance = ctx.config.instance
    return [
        {
            "node": node,
            "number": number,
            "ipv4": ipv4,
            "ipv6": ipv6,
            "mac": names.mac(instance, number),
            "tap": names.tap(instance, number),
            "spec_version": versions[node],
        }
        for node, number, (ipv4, ipv6) in zip(nodes, numbers, pairs, strict=True)
    ]


def _free(session: Session, ctx: Context, count: int) -> list[tuple[str, str]]:
    """The next `count` addresses that no machine has. Looks up a few at a time by their index, more where many are taken."""
    prefixes = own_site.prefixes(session, ctx)
    last = session.scalar(select(Machine.ipv4).order_by(Machine.id.desc()).limit(1))
    walk, found, look = ipam.walk(*prefixes, after=last), list[tuple[str, str]](), LOOK
    while len(found) < count:
        pairs = list(islice(walk, max(look, count - len(found))))
        if not pairs:
            raise ipam.full(prefixes[0])
        query = select(Machine.ipv4).where(EXISTS, Machine.ipv4.in_([ipv4 for ipv4, _ in pairs]))
        used = set(session.scalars(query))
        found += [pair for pair in pairs if pair[0] not in used]
        look = min(2 * look, 512)
    return found[:count]
