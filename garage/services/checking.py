"""What the database says of itself, for whoever compares it with the nodes (`core.consistency`)."""

from __future__ import annotations

from sqlalchemy import func, select

from garage.core.consistency import Kind, Row, Trouble
from garage.core.states import COUNTED, State
from garage.db.models import Audit, Machine, Project
from garage.services.context import Context

_COUNTED = [state.value for state in COUNTED]


def rows(ctx: Context) -> list[Row]:
    """Every machine's row, pool machines and those that are gone included, in one snapshot."""
    with ctx.db.read() as session:
        return [_row(machine) for machine in session.scalars(select(Machine).order_by(Machine.id))]


def _row(machine: Machine) -> Row:
    return Row(
        id=machine.id,
        name=machine.name,
        project=machine.project_id,
        state=State(machine.state),
        node=machine.node,
        moving_to=machine.moving_to,
        warm=machine.warm,
        ipv4=machine.ipv4,
        ipv6=machine.ipv6,
        mac=machine.mac,
        tap=machine.tap,
        has_key=bool(machine.host_key_private),
        ran=machine.ready_at is not None or machine.state == State.SPARE.value,
    )


def over_quota(ctx: Context) -> list[Trouble]:
    """Projects whose machines hold more than their quota."""
    held = (func.count(), func.sum(Machine.vcpus), func.sum(Machine.memory_mib), func.sum(Machine.disk_gib))
    query = select(Project, *held).join(Machine, Machine.project_id == Project.id)
    query = query.where(Machine.state.in_(_COUNTED)).group_by(Project.id)
    with ctx.db.read() as session:
        return [
            Trouble(Kind.QUOTA, project.name, f"{what}: {used} of {quota}")
            for project, *sums in session.execute(query)
            for what, used, quota in zip(
                ("machines", "vcpus", "memory_mib", "disk_gib"), sums, _quota(project), strict=True
            )
            if used > quota
        ]


def _quota(project: Project) -> tuple[int, int, int, int]:
    return project.quota_machines, project.quota_vcpus, project.quota_memory_mib, project.quota_disk_gib


def audited(ctx: Context, action: str) -> set[str]:
    """Ids of the machines of which the audit log has `action`, e.g. "machine.create"."""
    with ctx.db.read() as session:
        return {
            detail["id"]
            for detail in session.scalars(select(Audit.detail).where(Audit.action == action))
            if "id" in detail
        }
