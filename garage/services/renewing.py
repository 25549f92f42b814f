"""Nodes are made anew in good time: what was installed there is of another version, or certificates end."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from garage.db.models import Node
from garage.db.node_models import NodeCertificate, NodeTask
from garage.services.adding import BUSY, want
from garage.services.context import Context, audit
from garage.services.overlay_state import lock

OURS = "garage"
"""Who asks for what nobody had to ask for."""
BEFORE_END = 60 * 86400.0
"""Seconds before a certificate's end in which it is made anew; it is good for two years."""
ONE_AFTER_ANOTHER, AFTER_FAILURE = 600.0, 86400.0
"""Seconds before a node is renewed again, and before any is after one that failed: what broke one would break the next."""
_ENDS = select(NodeCertificate.node, func.min(NodeCertificate.not_after)).where(NodeCertificate.revoked_at.is_(None))
_ENDS = _ENDS.group_by(NodeCertificate.node)


def renew(ctx: Context, kit: str) -> str | None:
    """Want a node once more, as `garage node add` does for who repeats it, where its certificates end soon or its netd came with another
    kit than this controller's; returns its name. One at a time, and none that is silent."""
    with ctx.db.read() as session:
        if _stale(session, ctx.clock(), kit) is None:
            return None
    with ctx.db.write() as session:
        lock(session)
        if (node := _stale(session, ctx.clock(), kit)) is None:
            return None
        want(session, ctx, OURS, node.name, "add", node.address, node.ssh_host_key)
        audit(session, ctx, OURS, "node.renew", node.name)
        return node.name


def _stale(session: Session, now: float, kit: str) -> Node | None:
    tasks = {task.name: task for task in session.scalars(select(NodeTask))}
    if any(task.state in BUSY or _has_failed(task, now) for task in tasks.values()):
        return None
    ends = dict(session.execute(_ENDS).all())
    nodes = session.scalars(select(Node).where(Node.address != "", Node.silent_since.is_(None)).order_by(Node.name))
    for node in nodes:
        task = tasks.get(node.name)
        rested = task is None or now - task.changed_at > ONE_AFTER_ANOTHER
        old = task is None or task.kit != kit or ends.get(node.name, 0.0) < now + BEFORE_END
        if rested and old and not (task and task.kind == "remove"):
            return node
    return None


def _has_failed(task: NodeTask, now: float) -> bool:
    return task.state == "failed" and task.asked_by == OURS and now - task.changed_at < AFTER_FAILURE
