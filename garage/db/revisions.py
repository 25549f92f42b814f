"""A node's revision: raised by whatever changes a row that its worker acts on, so that a worker reloads only what changed.

Sessions of `Database` raise it by themselves; a statement that changes rows without loading them calls `touch`.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import chain
from typing import Any

from sqlalchemy import Table, inspect, select, update
from sqlalchemy.orm import Session

from garage.db.machine_models import MoveRow
from garage.db.models import Machine, Node
from garage.db.node_models import Adoption, KeptDomain, Leftover

WATCHED = frozenset(
    {"applied_version", "boot_id", "hypervisor_error", "state", "hypervisor", "address", "ssh_host_key", "silent_since"}
)
"""What a worker acts on of a node's row. The rest is what it wrote itself, or changes with every report."""
PLACES = ("node", "moving_to")
NODES: Table = Node.__table__  # type: ignore[assignment]


def touch(session: Session, names: Collection[str]) -> None:
    """Raise the revisions of the nodes `names`, in the caller's transaction; on PostgreSQL it locks their rows in order of name."""
    order = sorted(names)
    if session.get_bind().dialect.name != "sqlite":
        session.execute(select(NODES.c.name).where(NODES.c.name.in_(order)).order_by(NODES.c.name).with_for_update())
    session.execute(update(NODES).where(NODES.c.name.in_(order)).values(revision=NODES.c.revision + 1))


def before_flush(session: Session, _context: Any, _instances: Any) -> None:
    """SQLAlchemy's event: raises the revision of every node that a changed row belongs, belonged or will belong to."""
    names: set[str] = set()
    for row in chain(session.new, session.dirty, session.deleted):
        if isinstance(row, Machine) and (row not in session.dirty or session.is_modified(row)):
            histories = [inspect(row).attrs[place].history for place in PLACES]
            names.update(name for history in histories for name in history.sum() if name)
        elif isinstance(row, MoveRow):
            names.update((row.source, row.target))
        elif isinstance(row, Leftover | KeptDomain) or (isinstance(row, Adoption) and row not in session.dirty):
            names.add(row.node)
        elif isinstance(row, Node) and any(inspect(row).attrs[name].history.has_changes() for name in WATCHED):
            names.add(row.name)
    if names:
        touch(session, names)
