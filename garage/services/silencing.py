"""Nodes that do not answer, as rows: what is known of each, and what a worker records of its own."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from garage.core import silence
from garage.core.node_states import NodeState
from garage.core.states import TABLE, Event
from garage.db.models import Machine, Node
from garage.services import news, own_site
from garage.services.contact import publish_node
from garage.services.context import Context, audit
from garage.services.transitions import fire
from garage.services.work import Hold, held

GO_SILENT = [state.value for state, event in TABLE if event is Event.SILENT]


@dataclass(frozen=True, slots=True)
class Known:
    """Of one node."""

    hypervisor_away: bool
    reported_at: float | None
    expected: bool


def known(ctx: Context) -> dict[str, Known]:
    """Every node by name; one small read."""
    query = select(Node.name, Node.hypervisor_error, Node.reported_at, Node.state)
    with ctx.db.read() as session:
        return {
            name: Known(bool(error), reported_at, state != NodeState.MAINTENANCE.value)
            for name, error, reported_at, state in session.execute(query)
        }


def record_silent(ctx: Context, hold: Hold, *, lost: bool) -> int:
    """Neither way reaches the hold's node. `lost`: nor is that our fault, so its running machines become `unreachable`; returns how many.

    They come back as they are found when the node answers. Starting them elsewhere (with fencing, from copies of their disks) would
    begin here: with the machines that this has just made unreachable, of a node that is `lost`.
    """
    with ctx.db.write() as session:
        node = held(session, hold)
        if node.silent_since is None:
            node.silent_since = ctx.clock()
            publish_node(session, ctx, node)
            audit(session, ctx, "garage", "node.silent", node.name)
            news.of_site(session, ctx, "node.silent", own_site.current(session, ctx).name, node=node.name)
        if not lost:
            return 0
        query = select(Machine).where(Machine.node == node.name, Machine.state.in_(GO_SILENT))
        gone = list(session.scalars(query))
        for machine in gone:
            fire(session, ctx, machine, Event.SILENT)
        return len(gone)


def ours(session: Session) -> bool:
    """So many nodes are silent that nothing is moved or declared dead (`core.silence`)."""
    counts = select(func.count(), func.count(Node.silent_since)).where(Node.state != NodeState.MAINTENANCE.value)
    every, silent = session.execute(counts).one()
    return silence.ours(every, silent)


def fault_is_ours(ctx: Context) -> bool:
    with ctx.db.read() as session:
        return ours(session)
