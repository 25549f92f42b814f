"""What a drain of a node is shown as: each machine with its way, and what has moved lately."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from garage.core.drain import Passage
from garage.db.machine_models import MoveRow
from garage.db.models import Machine, Node, User
from garage.services.context import Context
from garage.services.draining import passages
from garage.services.moving import ARRIVED
from garage.services.silencing import ours

RECENT = 50
"""Moves that are shown."""


@dataclass(frozen=True, slots=True)
class PassageView:
    """What becomes of one machine."""

    id: str
    name: str
    project: str
    """Empty: a pool machine."""
    owner: str
    state: str
    way: str
    """`core.drain.Way`."""
    target: str
    moving: bool
    percent: int
    reason: dict[str, Any] | None
    """Why it stays, or why its last try was refused: `GarageError.as_dict()`."""


@dataclass(frozen=True, slots=True)
class MoveView:
    """A move that has ended."""

    id: int
    machine: str
    name: str
    project: str
    owner: str
    target: str
    way: str
    began_at: float
    ended_at: float
    pause_ms: float | None
    arrived: bool
    reason: dict[str, Any] | None
    """Why it stayed; None: it arrived, or its owner wanted something else."""


@dataclass(frozen=True, slots=True)
class DrainView:
    node: str
    state: str
    state_since: float
    ours: bool
    """Too many nodes are silent: nothing moves."""
    machines: list[PassageView]
    moves: list[MoveView]
    """The newest first."""


@dataclass(frozen=True, slots=True)
class _Names:
    owners: dict[str, str]

    def owner(self, machine: Machine) -> str:
        return self.owners.get(machine.created_by or "", "")

    @staticmethod
    def project(machine: Machine) -> str:
        return machine.project.name if machine.project else ""


def drain_view(session: Session, ctx: Context, node: Node) -> DrainView:
    found = passages(session, ctx, node)
    moves = _moves(session, node)
    people = {machine.created_by for machine, _ in found} | {machine.created_by for _, machine in moves}
    names = _Names(dict(session.execute(select(User.id, User.name).where(User.id.in_(people))).all()))
    return DrainView(
        node=node.name,
        state=node.state,
        state_since=node.state_since,
        ours=ours(session),
        machines=[_passage_view(names, machine, passage) for machine, passage in found],
        moves=[_move_view(names, row, machine) for row, machine in moves],
    )


def _moves(session: Session, node: Node) -> list[tuple[MoveRow, Machine]]:
    """Those that ended, the newest first."""
    query = select(MoveRow, Machine).join(Machine, Machine.id == MoveRow.machine_id)
    query = query.options(joinedload(Machine.project))
    query = query.where(MoveRow.source == node.name, MoveRow.ended_at.is_not(None)).order_by(MoveRow.id.desc())
    return [(row, machine) for row, machine in session.execute(query.limit(RECENT))]


def _passage_view(names: _Names, machine: Machine, passage: Passage) -> PassageView:
    return PassageView(
        id=machine.id,
        name=machine.name,
        project=names.project(machine),
        owner=names.owner(machine),
        state=machine.state,
        way=passage.way.value,
        target=passage.target,
        moving=machine.moving_to is not None,
        percent=machine.moved_percent,
        reason=passage.reason.as_dict() if passage.reason else None,
    )


def _move_view(names: _Names, row: MoveRow, machine: Machine) -> MoveView:
    return MoveView(
        id=row.id,
        machine=machine.id,
        name=machine.name,
        project=names.project(machine),
        owner=names.owner(machine),
        target=row.target,
        way=row.way,
        began_at=row.began_at,
        ended_at=row.ended_at or 0.0,
        pause_ms=row.pause_ms,
        arrived=row.step == ARRIVED,
        reason=row.error,
    )
