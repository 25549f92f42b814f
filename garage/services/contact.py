"""Whether a node answers, as whoever watches is told."""

from __future__ import annotations

from sqlalchemy.orm import Session

from garage.db.models import EventRow, Node
from garage.services.context import Context, audit


def heard(session: Session, ctx: Context, node: Node) -> None:
    """One of the two ways has an answer again, in the caller's transaction."""
    if node.silent_since is not None:
        seconds = round(max(0.0, ctx.clock() - node.silent_since), 1)
        node.silent_since = None
        publish_node(session, ctx, node)
        audit(session, ctx, "garage", "node.back", node.name, seconds=seconds)


def publish_node(session: Session, ctx: Context, node: Node) -> None:
    data = {"silent": node.silent_since is not None, "hypervisor_error": node.hypervisor_error}
    session.add(EventRow(at=ctx.clock(), kind="node", project_id=None, subject=node.name, data=data))
