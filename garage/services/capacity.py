"""Room on nodes and in quotas, summed from the machines' rows: no counter that could drift."""

from __future__ import annotations

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from garage.core.placement import Room
from garage.core.states import COUNTED, RUNNING, State
from garage.core.types import Demand, NodeFacts
from garage.db.models import Machine, Node, Project, Size
from garage.errors import N_, GarageError
from garage.services.context import Context
from garage.services.views import UsageView, quota_of

_COUNTED = [state.value for state in COUNTED]
_RUNNING = [state.value for state in RUNNING]


def usage(session: Session, project: Project) -> UsageView:
    """What the project's machines hold of its quota, stopped ones included."""
    query = select(func.count(), func.sum(Machine.vcpus), func.sum(Machine.memory_mib), func.sum(Machine.disk_gib))
    row = session.execute(query.where(Machine.project_id == project.id, Machine.state.in_(_COUNTED))).one()
    return UsageView(
        dict(zip(("machines", "vcpus", "memory_mib", "disk_gib"), (int(v or 0) for v in row), strict=True)),
        quota_of(project),
    )


def check_quota(session: Session, project: Project, size: Size) -> None:
    """Raises `quota_exceeded` naming the first thing of which there is too little."""
    now = usage(session, project)
    asked = {"machines": 1, "vcpus": size.vcpus, "memory_mib": size.memory_mib, "disk_gib": size.disk_gib}
    for what, amount in asked.items():
        if now.used[what] + amount > now.quota[what]:
            names = ", ".join(_names(session, project.id)[:3])
            ask = N_("take a smaller size, or ask an admin for more")
            raise GarageError(
                "quota_exceeded",
                N_("{project} would use {would} of {quota} {what}"),
                hint=N_("delete a machine you no longer need ({names}), or ask an admin for more") if names else ask,
                project=project.name, would=now.used[what] + amount, quota=now.quota[what], what=what, names=names,
            )  # fmt: skip


def rooms(session: Session, ctx: Context) -> list[Room]:
    """Every node that can take machines now: its facts are known and its hypervisor answers."""
    used = _used_by_node(session)
    nodes = session.scalars(select(Node).where(Node.hypervisor_error == ""))
    return [_room(ctx, node, used.get(node.name, Demand(0, 0, 0))) for node in nodes if node.facts]


def room_of(session: Session, ctx: Context, name: str, *, without: str) -> Room:
    """One node's room as if machine `without` were not there."""
    node = session.get_one(Node, name)
    if node.hypervisor_error or not node.facts:
        raise GarageError(
            "hypervisor_away",
            N_("the hypervisor of {node} does not answer"),
            hint=N_("nothing is lost; try again when it is back"),
            node=name,
        )
    return _room(ctx, node, _used_by_node(session, without=without).get(name, Demand(0, 0, 0)))


def _room(ctx: Context, node: Node, used: Demand) -> Room:
    config = ctx.config
    return Room(
        node.name,
        NodeFacts(**node.facts),
        used,
        config.ram_reserve_mib,
        config.disk_reserve_mib / 1024,
        config.vcpu_overcommit,
        config.disk_overcommit,
    )


def _used_by_node(session: Session, *, without: str = "") -> dict[str, Demand]:
    running = Machine.state.in_(_RUNNING)
    query = select(
        Machine.node,
        func.sum(case((running, Machine.vcpus), else_=0)),
        func.sum(case((running, Machine.memory_mib), else_=0)),
        func.sum(Machine.disk_gib),
    )
    query = query.where(Machine.state.in_(_COUNTED), Machine.id != without).group_by(Machine.node)
    return {name: Demand(int(v), int(m), int(d)) for name, v, m, d in session.execute(query)}


def stoppable(session: Session, project_id: str) -> list[str]:
    """Names of the project's running machines, the oldest first: what its members could stop to make room."""
    query = (
        select(Machine.name)
        .where(Machine.project_id == project_id, Machine.state == State.READY.value)
        .order_by(Machine.id)
    )
    return list(session.scalars(query))


def _names(session: Session, project_id: str) -> list[str]:
    query = (
        select(Machine.name).where(Machine.project_id == project_id, Machine.state.in_(_COUNTED)).order_by(Machine.id)
    )
    return list(session.scalars(query))
