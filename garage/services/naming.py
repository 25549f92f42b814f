"""Names of a site's machines on all of its nodes: each node serves its own, and those of the others as its spec tells them.

A machine that comes, goes or moves raises its own node's spec at once. The others' are raised together a moment later, by whichever worker
sees first that the names have changed, so that a hundred machines cost each node one spec.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from garage.core.states import State
from garage.db.models import Machine, Node, Project, Setting
from garage.services.context import Context
from garage.services.specs import raise_specs
from netd import wire

MARK = "names"
NAMED_NODES = 32
"""Nodes of a site that know each other's names: each has them all, and is told of each change."""
NOWHERE = (State.GONE.value, State.LOST.value)


def elsewhere(session: Session, node: Node) -> tuple[wire.MachineName, ...]:
    """Machines of people on the other nodes, and neither here nor on their way here."""
    if not _several(session):
        return ()
    return tuple(
        wire.MachineName(name=row.name, project=row.project, ipv4=row.ipv4, ipv6=row.ipv6)
        for row in _named(session)
        if node.name not in (row.node, row.moving_to)
    )


def versions(ctx: Context) -> Mapping[str, int]:
    """Spec versions by node, while they are the same no name has changed; empty where there is nobody to tell."""
    with ctx.db.read() as session:
        found = {
            row.name: row.spec_version
            for row in session.execute(select(Node.name, Node.spec_version).limit(NAMED_NODES + 1))
        }
    return found if 1 < len(found) <= NAMED_NODES else {}


def spread(ctx: Context) -> bool:
    """Have every node ask for its spec anew when names have changed since the last time; whether they had."""
    with ctx.db.read() as session:
        if not _several(session) or _digest(session) == _told(session):
            return False
    with ctx.db.write() as session:
        digest = _digest(session)
        if digest == _told(session):
            return False
        raise_specs(session)
        session.merge(Setting(key=MARK, value=digest))
    return True


def _several(session: Session) -> bool:
    return 1 < (session.scalar(select(func.count()).select_from(Node)) or 0) <= NAMED_NODES


def _told(session: Session) -> str:
    row = session.get(Setting, MARK)
    return row.value if row else ""


def _named(session: Session) -> Sequence[Any]:
    query = select(
        Machine.name, Project.name.label("project"), Machine.ipv4, Machine.ipv6, Machine.node, Machine.moving_to
    )
    query = query.join(Project, Project.id == Machine.project_id).where(Machine.state.not_in(NOWHERE))
    return session.execute(query.order_by(Machine.number)).all()


def _digest(session: Session) -> str:
    rows = "\n".join(" ".join(map(str, row)) for row in _named(session))
    return hashlib.sha256(rows.encode()).hexdigest()
