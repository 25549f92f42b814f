"""After a restore: workers only look, an admin sees what differs, and work goes on when they agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from garage.core import adoption as core
from garage.core.adoption import Do, Row, Step
from garage.core.hypervisor_types import Domain, Power, Reason
from garage.core.states import Event, State
from garage.db.models import EventRow, Machine, Node
from garage.db.node_models import Adoption, KeptDomain
from garage.db.revisions import touch
from garage.errors import N_, GarageError
from garage.services.context import Caller, Context, audit
from garage.services.rights import require_admin, require_reader
from garage.services.transitions import fire
from garage.services.work import Hold, held


@dataclass(frozen=True, slots=True)
class Plan:
    """What adopting means now. `waiting`: nodes that stay as they are: they have not been looked at, or a machine of theirs may be on one
    that has not."""

    needed: bool
    since: float | None
    nodes: list[str]
    waiting: list[str]
    steps: list[Step]
    digest: str


def record(ctx: Context, hold: Hold, domains: Mapping[str, Domain]) -> None:
    """What the node's worker sees. Written only when it is something else than before."""
    packed = {id_: [domain.power.value, domain.reason.value] for id_, domain in sorted(domains.items())}
    with ctx.db.read() as session:
        row = session.get(Adoption, hold.node)
        if row is None or (row.seen_at is not None and row.domains == packed):
            return
    with ctx.db.write() as session:
        held(session, hold)
        if row := session.get(Adoption, hold.node):
            row.seen_at, row.domains = ctx.clock(), packed


def plan(ctx: Context, caller: Caller) -> Plan:
    require_reader(caller)
    with ctx.db.read() as session:
        return _plan(session)


def adopt(ctx: Context, caller: Caller, agreed: str) -> Plan:
    """Do the plan whose digest is `agreed`: work goes on at the nodes that were looked at. Raises `version_conflict` when it is another
    plan by now, `wrong_state` when nothing waits or no node was looked at yet."""
    require_admin(caller)
    with ctx.db.write() as session:
        found = _plan(session)
        _check(found, agreed)
        for step in found.steps:
            _do(session, ctx, step)
        for name in found.nodes:
            node = session.get_one(Node, name)
            node.spec_version += 1
            session.delete(session.get_one(Adoption, name))
            session.add(EventRow(at=ctx.clock(), kind="node", project_id=None, subject=name, data={"adopted": True}))
        touch(session, found.nodes)
        counts = {do.value: sum(step.do is do for step in found.steps) for do in Do}
        audit(session, ctx, caller.name, "garage.adopt", ctx.config.instance, nodes=found.nodes, steps=counts)
    return found


def _check(found: Plan, agreed: str) -> None:
    if not found.needed:
        raise GarageError("wrong_state", N_("no node waits to be adopted"), hint=N_("only a restore makes them wait"))
    if not found.nodes:
        raise GarageError(
            "wrong_state", N_("no node was looked at yet"), hint=N_("does the worker run? try again in a moment")
        )
    if found.digest != agreed:
        raise GarageError(
            "version_conflict", N_("the nodes have changed since you looked"), hint=N_("look at the plan again")
        )


def _plan(session: Session) -> Plan:
    waiting = list(session.scalars(select(Adoption).order_by(Adoption.node)))
    seen = {row.node: _domains(row) for row in waiting if row.seen_at is not None}
    query = select(Machine.id, Machine.name, Machine.node, Machine.state, Machine.moving_to)
    rows = [
        Row(id_, name, node, State(state), moving_to is not None)
        for id_, name, node, state, moving_to in (session.execute(query) if waiting else ())
    ]
    every = core.differences(rows, seen)
    nodes = core.decided(every, seen, [row.node for row in waiting if row.seen_at is None])
    steps = [step for step in every if step.node in nodes]
    return Plan(
        needed=bool(waiting),
        since=min((row.since for row in waiting), default=None),
        nodes=nodes,
        waiting=[row.node for row in waiting if row.node not in nodes],
        steps=steps,
        digest=core.digest(steps, nodes),
    )


def _domains(row: Adoption) -> dict[str, Domain]:
    return {id_: Domain(Power(power), Reason(reason)) for id_, (power, reason) in row.domains.items()}


def _do(session: Session, ctx: Context, step: Step) -> None:
    match step.do:
        case Do.KEEP:
            _keep(session, ctx, step)
        case Do.HERE:
            machine = session.get_one(Machine, step.id)
            machine.node = step.node
            if step.power == Power.RUNNING.value and machine.state in (State.STOPPED.value, State.FAILED.value):
                _runs(session, ctx, machine)
        case Do.RUNS:
            _runs(session, ctx, session.get_one(Machine, step.id))
        case Do.RETIRE:
            machine = session.get_one(Machine, step.id)
            machine.wants_running = machine.warm = False
            fire(session, ctx, machine, Event.AGED)
        case Do.RECOVER:
            pass  # the worker does, as after any other silence


def _runs(session: Session, ctx: Context, machine: Machine) -> None:
    """Its guest runs: it is found again as after silence, and is ready when its SSH has answered."""
    fire(session, ctx, machine, Event.START)
    machine.wants_running = machine.started = True


def _keep(session: Session, ctx: Context, step: Step) -> None:
    session.merge(KeptDomain(node=step.node, id=step.id, kept_at=ctx.clock()))
    machine = session.get(Machine, step.id)
    if machine is not None and machine.state == State.SPARE.value:
        session.delete(machine)  # somebody took it after the backup; as a pool machine it would be given to another
    audit(session, ctx, "garage", "domain.keep", step.id, node=step.node, power=step.power)
