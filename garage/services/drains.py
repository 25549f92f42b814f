"""What an admin or an operator of the site says of a node: empty it, work on it, take it back."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from garage.core import node_states
from garage.core.drain import RUNS, Way
from garage.core.node_states import NodeEvent, NodeState
from garage.core.states import COUNTED
from garage.db.models import Machine, Node
from garage.errors import N_, GarageError
from garage.services import news, own_site, volume_rules
from garage.services.context import Caller, Context, audit
from garage.services.drain_views import DrainView, drain_view
from garage.services.draining import passages, set_state

NAMED = 3
"""Machines that a refusal names."""


def preview(ctx: Context, caller: Caller, name: str) -> DrainView:
    """What a drain of the node would do, or does at this moment. Changes nothing."""
    with ctx.db.read() as session:
        own_site.require_sight_here(session, ctx, caller)
        return drain_view(session, ctx, _node(session, name))


def drain(ctx: Context, caller: Caller, name: str) -> DrainView:
    """The node takes nothing more and gives its machines away; what was refused before is tried again at once."""
    return _say(ctx, caller, name, NodeEvent.DRAIN)


def activate(ctx: Context, caller: Caller, name: str) -> DrainView:
    """The node takes machines again. A machine that is on its way goes on; no other follows it."""
    return _say(ctx, caller, name, NodeEvent.ACTIVATE)


def maintain(ctx: Context, caller: Caller, name: str) -> DrainView:
    """The node may be switched off; refused (`in_use`) while anything runs there or is on its way."""
    return _say(ctx, caller, name, NodeEvent.MAINTAIN)


def _say(ctx: Context, caller: Caller, name: str, event: NodeEvent) -> DrainView:
    with ctx.db.write() as session:
        own_site.require_operator_here(session, ctx, caller)
        node = _node(session, name)
        before = NodeState(node.state)
        state = node_states.after(before, event, name=node.name)
        if event is NodeEvent.MAINTAIN:
            check_idle(session, node)
        set_state(session, ctx, node, state)
        audit(session, ctx, caller.name, f"node.{event.value}", node.name)
        session.flush()
        if event is NodeEvent.DRAIN and before is not state:
            _tell_owners(session, ctx, node)
        return drain_view(session, ctx, node)


def _tell_owners(session: Session, ctx: Context, node: Node) -> None:
    for machine, passage in passages(session, ctx, node):
        if passage.way is not Way.ENDS:
            news.of_machine(session, ctx, "machine.moving", machine, node=node.name, way=passage.way.value)


def check_idle(session: Session, node: Node) -> None:
    """Raises `in_use` while a machine runs on the node, or moves from or to it."""
    if running := _there(session, node, [state.value for state in RUNS]):
        raise GarageError(
            "in_use",
            N_("machines run on {node}: {machines}"),
            hint=N_("empty it first: garage node drain {node}"),
            node=node.name,
            machines=running,
        )


def check_empty(session: Session, node: Node) -> None:
    """Raises `in_use` while any machine, running or not, has its disk on the node: what must hold before it is removed."""
    check_idle(session, node)
    if left := _there(session, node, [state.value for state in COUNTED]):
        raise GarageError(
            "in_use",
            N_("machines that are off have their disks on {node}: {machines}"),
            hint=N_("garage node drain {node} shows which and why they did not move"),
            node=node.name,
            machines=left,
        )
    volume_rules.check_none_on(session, node)


def _there(session: Session, node: Node, states: Sequence[str]) -> str:
    """Names of the first few that are on the node in one of `states`, or on their way to it; empty for none."""
    here = and_(Machine.node == node.name, Machine.state.in_(states))
    query = select(Machine.name).where(or_(here, Machine.moving_to == node.name)).order_by(Machine.name)
    found = list(session.scalars(query.limit(NAMED + 1)))
    return ", ".join(found[:NAMED]) + (" …" if len(found) > NAMED else "")


def _node(session: Session, name: str) -> Node:
    if (node := session.get(Node, name)) is not None:
        return node
    raise GarageError(
        "not_found", N_("there is no node {name}"), hint=N_("“garage node list” shows them"), name=name[:64]
    )
