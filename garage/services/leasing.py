"""Leases of a node's machines: warned, ended, deleted. Each step is an event and an audit entry."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session, joinedload

from garage.core.leases import Lease, LeaseRules, Step, step
from garage.core.states import TABLE, Event, State
from garage.db.models import Machine
from garage.services import adopting, news
from garage.services.context import Context, audit, publish_machine
from garage.services.transitions import fire
from garage.services.work import SETTLED, Hold, held

HOUR = 3600.0
OUT = (*SETTLED, State.SPARE.value, State.DELETING.value)


def nodes_due(ctx: Context) -> set[str]:
    """The nodes that have a machine for which `run` would do something."""
    query = select(Machine.node).where(Machine.state.not_in(OUT), _due(ctx)).distinct()
    with ctx.db.read() as session:
        return set(session.scalars(query))


def run(ctx: Context, hold: Hold) -> int:
    """Do what is due on the hold's node now; returns how many machines it touched. Writes nothing when nothing is due."""
    query = select(Machine.id).where(Machine.node == hold.node, Machine.state.not_in(OUT), _due(ctx))
    with ctx.db.read() as session:
        if adopting.waits(session, hold.node):
            return 0
        candidates = list(session.scalars(query))
    if not candidates:
        return 0
    rules, now = _rules(ctx), ctx.clock()
    with ctx.db.write() as session:
        held(session, hold)
        rows = select(Machine).where(
            Machine.id.in_(candidates), Machine.state.not_in(OUT)
        )  # somebody may have deleted one
        rows = rows.options(joinedload(Machine.project))
        return sum(_step(session, ctx, machine, now, rules) for machine in session.scalars(rows))


def _rules(ctx: Context) -> LeaseRules:
    return LeaseRules(ctx.config.lease_warn_hours * HOUR, ctx.config.lease_grace_hours * HOUR)


def _due(ctx: Context) -> ColumnElement[bool]:
    rules, now = _rules(ctx), ctx.clock()
    return or_(
        and_(Machine.lease_warned.is_(False), Machine.lease_until <= now + rules.warn),
        and_(Machine.lease_ended_at.is_(None), Machine.lease_until <= now),
        Machine.lease_ended_at <= now - rules.grace,
    )


def _step(session: Session, ctx: Context, machine: Machine, now: float, rules: LeaseRules) -> bool:
    lease = Lease(machine.lease_until, machine.lease_warned, machine.lease_ended_at)
    match step(lease, now, rules):
        case Step.WARN:
            machine.lease_warned = True
            news.of_machine(session, ctx, "lease.soon", machine, until=machine.lease_until)
        case Step.END:
            _end(session, ctx, machine, now)
            until = max(machine.lease_until, now) + rules.grace
            news.of_machine(session, ctx, "lease.ended", machine, until=until)
        case Step.DELETE:
            machine.wants_running = False
            fire(session, ctx, machine, Event.DELETE)
            news.of_machine(session, ctx, "lease.deleted", machine)
            _audit(session, ctx, machine, "machine.delete", reason="lease")
            return True
        case None:
            return False
    publish_machine(session, ctx, machine)
    _audit(session, ctx, machine, "lease.end" if machine.lease_ended_at is not None else "lease.warn")
    return True


def _end(session: Session, ctx: Context, machine: Machine, now: float) -> None:
    """It no longer wants to run; a state that cannot be stopped yet is stopped when it can be."""
    machine.lease_warned, machine.lease_ended_at, machine.wants_running = True, now, False
    if (State(machine.state), Event.STOP) in TABLE and machine.state != State.FAILED.value:
        fire(session, ctx, machine, Event.STOP)


def _audit(session: Session, ctx: Context, machine: Machine, action: str, **detail: str) -> None:
    subject = f"{machine.name}.{machine.project.name}"
    audit(session, ctx, "garage", action, subject, project_id=machine.project_id, id=machine.id, **detail)
