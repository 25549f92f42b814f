"""Versions of node specs: whoever changes what a spec is made of raises them, and netd asks for the new one."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from garage.db.models import Node


def raise_specs(session: Session, nodes: Collection[str] | None = None) -> dict[str, int]:
    """The specs of `nodes` (None: of all) have news, in the caller's transaction; by name, their new versions."""
    where = Node.name.is_not(None) if nodes is None else Node.name.in_(sorted(nodes))
    session.execute(update(Node).where(where).values(spec_version=Node.spec_version + 1))
    return dict(session.execute(select(Node.name, Node.spec_version).where(where)).all())
