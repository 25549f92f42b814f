"""A machine's move as rows: begun by a drain, told of by both nodes' workers, ended at one of the two nodes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from garage.core.changes import Move, MoveStep
from garage.core.domain_xml import DomainSpec
from garage.core.drain import Way
from garage.core.types import NodeAccess
from garage.db.machine_models import MoveRow
from garage.db.models import EventRow, Machine, Node, Project
from garage.db.node_models import Leftover
from garage.errors import N_, GarageError
from garage.services.context import Context, audit, publish_machine

ARRIVED, STAYED = "arrived", "stayed"
"""The step of a move that has ended."""
KEPT_SECONDS = 30 * 86_400.0
PATHS = ("image_disk", "kernel", "initrd", "disk", "seed", "console_log")


@dataclass(frozen=True, slots=True)
class MovePrepared:
    """All is in place at the target; `spec` is the domain as it shall be there. Told by the target's worker."""

    machine: str
    spec: DomainSpec


@dataclass(frozen=True, slots=True)
class MoveAsked:
    """How the move stands at the source: `MOVING` when libvirt is about to be asked, `LEFT` or `UNSURE` when the target must look."""

    machine: str
    step: MoveStep


@dataclass(frozen=True, slots=True)
class MoveProgress:
    """Percent, for people."""

    machine: str
    percent: int


@dataclass(frozen=True, slots=True)
class MoveDone:
    """The machine is at the target. Told by the source's worker after a migration, by the target's after a look."""

    machine: str
    pause_ms: float | None = None


@dataclass(frozen=True, slots=True)
class MoveEnded:
    """The machine stays where it is; with a reason when something was refused."""

    machine: str
    error: dict[str, Any] | None = field(default=None, hash=False)


MoveNote = MovePrepared | MoveAsked | MoveProgress | MoveDone | MoveEnded


def begin(session: Session, ctx: Context, machine: Machine, target: Node, way: Way) -> MoveRow:
    """The machine holds room on both nodes from now on, and has its place in the target's network as one that is to come."""
    target.spec_version += 1
    row = MoveRow(
        machine_id=machine.id,
        source=machine.node,
        target=target.name,
        way=way.value,
        step=MoveStep.WANTED.value,
        version=target.spec_version,
        began_at=ctx.clock(),
    )
    session.add(row)
    machine.moving_to, machine.moved_percent = target.name, 0
    publish_machine(session, ctx, machine)
    publish_move(session, ctx, row)
    return row


def check_stays(machine: Machine) -> None:
    """Raises `wrong_state` while it is between two nodes."""
    if machine.moving_to:
        raise GarageError(
            "wrong_state",
            N_("{name} is on its way to {node}"),
            hint=N_("wait until it has arrived"),
            name=machine.name,
            node=machine.moving_to,
        )


def open_moves(session: Session, machine_ids: Iterable[str]) -> dict[str, Move]:
    """By machine, of those that are on their way."""
    query = select(MoveRow, Node).join(Node, Node.name == MoveRow.target)
    query = query.where(MoveRow.machine_id.in_(list(machine_ids)), MoveRow.ended_at.is_(None))
    return {row.machine_id: _move(row, node) for row, node in session.execute(query)}


def _move(row: MoveRow, target: Node) -> Move:
    to = NodeAccess(target.name, target.hypervisor, target.address, target.ssh_host_key)
    return Move(to, MoveStep(row.step), row.version, _spec_from(row.spec) if row.spec else None)


def _spec_from(data: dict[str, Any]) -> DomainSpec:
    paths: dict[str, Any] = {name: Path(data[name]) for name in PATHS if data[name] is not None}
    return DomainSpec(**{**data, **paths, "volumes": ()})  # one that has any stays


def _spec_data(spec: DomainSpec) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(spec).items()}


def note(session: Session, ctx: Context, node: Node, machine: Machine, told: MoveNote) -> bool:
    """Write what a worker of one of the two nodes tells; False when the move is over, or the other node's to tell of."""
    query = select(MoveRow).where(MoveRow.machine_id == machine.id, MoveRow.ended_at.is_(None))
    row = session.scalars(query).one_or_none()
    if row is None or node.name not in (row.source, row.target):
        return False
    match told:
        case MovePrepared():
            row.spec = _spec_data(told.spec)
        case MoveAsked():
            row.step = told.step.value
        case MoveProgress():
            if machine.moved_percent != told.percent:
                machine.moved_percent = told.percent
                publish_machine(session, ctx, machine)
        case MoveDone():
            _arrive(session, ctx, machine, row, told.pause_ms)
        case MoveEnded():
            _stay(session, ctx, machine, row, told.error)
    return True


def _arrive(session: Session, ctx: Context, machine: Machine, row: MoveRow, pause_ms: float | None) -> None:
    """One transaction: its place, its route and what is left behind change together."""
    target = session.get_one(Node, row.target)
    machine.node = target.name
    _end(session, ctx, machine, row, ARRIVED, pause_ms=pause_ms)
    machine.spec_version = target.spec_version
    _leave_behind(session, row.source, machine.id)
    detail = {"from": row.source, "to": row.target, "pause_ms": pause_ms}
    audit(session, ctx, "garage", "machine.move", _subject(session, machine), project_id=machine.project_id,
          id=machine.id, **detail)  # fmt: skip


def _stay(session: Session, ctx: Context, machine: Machine, row: MoveRow, error: dict[str, Any] | None) -> None:
    _end(session, ctx, machine, row, STAYED, error=error)
    _leave_behind(session, row.target, machine.id)


def _end(
    session: Session,
    ctx: Context,
    machine: Machine,
    row: MoveRow,
    step: str,
    *,
    pause_ms: float | None = None,
    error: dict[str, Any] | None = None,
) -> None:
    row.step, row.ended_at, row.pause_ms, row.error, row.spec = step, ctx.clock(), pause_ms, error, None
    machine.moving_to, machine.moved_percent = None, 0
    for name in (row.source, row.target):
        session.get_one(Node, name).spec_version += 1
    publish_machine(session, ctx, machine)
    publish_move(session, ctx, row)


def _leave_behind(session: Session, node: str, machine_id: str) -> None:
    session.merge(Leftover(node=node, machine_id=machine_id))


def leftovers(session: Session, node: str) -> frozenset[str]:
    """Machines of which something is still on `node` that has to go."""
    return frozenset(session.scalars(select(Leftover.machine_id).where(Leftover.node == node)))


def cleaned(session: Session, node: str, machine_id: str) -> None:
    session.execute(delete(Leftover).where(Leftover.node == node, Leftover.machine_id == machine_id))


def prune(ctx: Context) -> int:
    """Forget moves that ended a month ago; returns how many."""
    with ctx.db.write() as session:
        old = delete(MoveRow).where(MoveRow.ended_at < ctx.clock() - KEPT_SECONDS)
        return int(session.execute(old).rowcount)  # type: ignore[attr-defined]


def publish_move(session: Session, ctx: Context, row: MoveRow) -> None:
    """For whoever watches the node; without a name of a machine, since everybody may."""
    data = {"move": row.id, "to": row.target, "ended": row.ended_at is not None, "refused": row.error is not None}
    session.add(EventRow(at=ctx.clock(), kind="node", project_id=None, subject=row.source, data=data))


def _subject(session: Session, machine: Machine) -> str:
    project = session.get(Project, machine.project_id) if machine.project_id else None
    return f"{machine.name}.{project.name}" if project else machine.name
