"""The registry's lock, its numbers that only grow, and versions."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Collection

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from garage.core.allot import LINKS4
from garage.db.models import Setting
from garage.db.overlay_models import Counter, SiteNode
from garage.services.context import Context

BFD_MS, MESH_SITES = "overlay_bfd_ms", "overlay_mesh_sites"
MEASURE_DAYS, MEASURE_MBIT, MEASURE_SECONDS = "overlay_measure_days", "overlay_measure_mbit", "overlay_measure_seconds"
DEFAULTS = {BFD_MS: 1000, MESH_SITES: 20, MEASURE_DAYS: 0, MEASURE_MBIT: 100, MEASURE_SECONDS: 5}
"""Throughput is measured on demand alone until an operator says how often: some lines cost by volume."""
LIMITS = {
    BFD_MS: (50, 60_000),
    MESH_SITES: (2, 50),
    MEASURE_DAYS: (0, 31),
    MEASURE_MBIT: (1, 10_000),
    MEASURE_SECONDS: (1, 5),
}
"""(least, most)."""
_LINKS4 = ipaddress.IPv4Network(LINKS4)


def lock(session: Session) -> Counter:
    """Be alone among the registry's writers until the transaction ends; SQLite's write transactions are anyway."""
    return session.scalars(select(Counter).where(Counter.name == "serial").with_for_update()).one()


def draw(session: Session, name: str) -> int:
    """The next number of a counter, from 1 on; never given again."""
    counter = session.get_one(Counter, name)
    counter.value += 1
    return counter.value


def raise_versions(session: Session, ctx: Context, nodes: Collection[str], *, table: bool = False) -> None:
    """Give the LinkSpecs of these nodes (ids), and the Table if it changed, a new version.

    Versions follow the clock (ms since 1970), so that a registry restored from a backup soon says something newer than what its
    nodes hold already; they grow also while the clock does not.
    """
    if not nodes and not table:
        return
    serial = lock(session)
    serial.value = max(serial.value + 1, int(ctx.clock() * 1000))
    if nodes:
        wanted = update(SiteNode).where(SiteNode.id.in_(nodes)).values(spec_version=serial.value)
        session.execute(wanted, execution_options={"synchronize_session": "fetch"})
    if table:
        session.get_one(Counter, "table").value = serial.value


def mark_dirty(session: Session) -> None:
    """Something changed from which other links may follow: `tending.tend` looks into it."""
    session.get_one(Counter, "dirty").value += 1


def setting(session: Session, key: str) -> int:
    """A figure of the overlay, one of `DEFAULTS`."""
    row = session.get(Setting, key)
    return int(row.value) if row else DEFAULTS[key]


def links6(ctx: Context) -> ipaddress.IPv6Network:
    """The ULA /64 of link addresses, made from the registry's public key: the same for its whole life, and nobody else's (RFC 4193)."""
    public = ctx.controller_key.public_key().public_bytes_raw()
    digest = hashlib.sha256(b"garage links " + public).digest()
    return ipaddress.IPv6Network(((0xFD << 120) | (int.from_bytes(digest[:5], "big") << 80), 64))


def link_addresses(net6: ipaddress.IPv6Network, slot: int) -> tuple[tuple[str, str], tuple[str, str]]:
    """((IPv4, IPv6) of end a, (IPv4, IPv6) of end b) in `LINKS4` and `net6`: a /31 and a /127."""
    place = 2 * slot
    a, b = ((str(_LINKS4[place + end]), str(net6[place + end])) for end in (0, 1))
    return a, b
