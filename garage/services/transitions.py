"""The only place that writes a machine's state."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.orm import Session

from garage.core.states import Event, State, after
from garage.db.models import Machine
from garage.errors import GarageError
from garage.services import ceilings, growing
from garage.services.context import Context, publish_machine, publish_machines


def fire(
    session: Session, ctx: Context, machine: Machine, event: Event, *, step: str = "", error: GarageError | None = None
) -> State:
    """Move `machine` along the table (raises `wrong_state`), stamp the time and publish it."""
    before = State(machine.state)
    state = _move(ctx, machine, event, step=step, error=error)
    if ceilings.made_anew(before, event):
        ceilings.give(session, [machine])
    publish_machine(session, ctx, machine)
    return state


def fire_each(session: Session, ctx: Context, machines: Sequence[Machine], event: Event) -> None:
    """The same for several at once."""
    before = [State(machine.state) for machine in machines]
    for machine in machines:
        _move(ctx, machine, event)
    pairs = zip(machines, before, strict=True)
    ceilings.give(session, [machine for machine, state in pairs if ceilings.made_anew(state, event)])
    publish_machines(session, ctx, machines)


def _move(ctx: Context, machine: Machine, event: Event, *, step: str = "", error: GarageError | None = None) -> State:
    state = after(State(machine.state), event, name=machine.name)
    if ctx.request:
        machine.request = ctx.request
    machine.state, machine.state_since, machine.step = state.value, ctx.clock(), step
    machine.error = error.as_dict() if error else (machine.error if state is State.FAILED else None)
    if state is not State.FAILED:
        machine.console_tail = ""
    if state in (State.STOPPED, State.FAILED, State.PREPARING):
        growing.settle(machine)
    if state is State.BOOTING:
        machine.started = event is not Event.START
    return state


def show_step(session: Session, ctx: Context, machine: Machine, step: str) -> None:
    """Progress within a state, for people."""
    if machine.step != step:
        machine.step = step
        publish_machine(session, ctx, machine)
