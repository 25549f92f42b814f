"""What pages show around a machine: how it came to be what it is, and what a request may choose from."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from garage.core.states import State
from garage.db.models import EventRow, Membership, Project
from garage.services.context import Caller, Context
from garage.services.rights import machine_for

RECENT = 60
_BOOT = (State.REQUESTED.value, State.PREPARING.value, State.BOOTING.value)


@dataclass(frozen=True, slots=True)
class StepView:
    """One step on the way to `ready`: its name, when it began, how long it took (None while it lasts)."""

    name: str
    at: float
    seconds: float | None


def last_boot(ctx: Context, caller: Caller, ref: str) -> list[StepView]:
    """The steps of the machine's last start, oldest first; empty when its events are pruned already."""
    with ctx.db.read() as session:
        machine = machine_for(session, caller, ref, reading=True)
        query = select(EventRow).where(EventRow.kind == "machine", EventRow.subject == machine.id)
        rows = session.scalars(query.order_by(EventRow.id.desc()).limit(RECENT))
        return boot_steps([(row.data["state"], row.data["step"], row.at) for row in reversed(list(rows))])


def boot_steps(events: list[tuple[str, str, float]]) -> list[StepView]:
    """The last unbroken run of states that lead to `ready`, from (state, step, time) in order."""
    start = next((i for i in range(len(events) - 1, -1, -1) if events[i][0] in _BOOT), None)
    if start is None:
        return []
    end = start + 1
    while start > 0 and events[start - 1][0] in _BOOT:
        start -= 1
    run = _merged([(step or state, at) for state, step, at in events[start:end]])
    ends = [at for _, at in run[1:]] + [events[end][2] if end < len(events) else None]
    return [
        StepView(name, at, None if until is None else max(until - at, 0.0))
        for (name, at), until in zip(run, ends, strict=True)
    ]


def _merged(run: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """Figures of one step ("image 5", "image 10") as one, with its last figure and its first time; so is what was told twice."""
    made: list[tuple[str, float]] = []
    for name, at in run:
        if made and name == made[-1][0]:
            continue
        if made and " " in name and made[-1][0].partition(" ")[0] == name.partition(" ")[0]:
            made[-1] = name, made[-1][1]
        else:
            made.append((name, at))
    return made


def project_names(ctx: Context, caller: Caller) -> list[str]:
    """The projects in which the caller may make machines by membership, the personal one first."""
    with ctx.db.read() as session:
        query = select(Project.name).join(Membership, Membership.project_id == Project.id)
        names = session.scalars(query.where(Membership.user_id == caller.user_id).order_by(Project.name))
        return sorted(names, key=lambda name: (name != caller.name, name))
