"""A machine goes to another project: its addresses stay, its name's project and the keys that it knows change."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from garage.core.states import COUNTED, State
from garage.db.models import EventRow, Machine, Project
from garage.db.snapshot_models import Snapshot
from garage.errors import N_, GarageError
from garage.services import capacity, keys, machines, volume_rules
from garage.services.context import Caller, Context, audit, publish_machine
from garage.services.rights import machine_for, project_for
from garage.services.specs import raise_specs
from garage.services.views import MachineView

RESTS = (State.READY, State.STOPPED, State.SUSPENDED, State.FAILED)
"""In which nothing is being made with the old project's name or keys."""


def transfer(ctx: Context, caller: Caller, ref: str, to: str) -> MachineView:
    """Whoever may delete it here and make one there may take it along. Raises `wrong_state`, `already_exists` for a name that is taken
    there, `quota_exceeded`; then nothing has changed."""
    with ctx.db.write() as session:
        machine, target = machine_for(session, caller, ref), _named(session, caller, to)
        if target.id != machine.project_id:
            _check_rests(machine)
            volume_rules.check_none_attached(session, machine)
            machines.check_names_free(session, target, [machine.name])
            capacity.check_growth(session, target, _held(session, machine))
            _go(session, ctx, caller, machine, target)
        return machines.view_of(session, ctx, machine)


def _named(session: Session, caller: Caller, to: str) -> Project:
    try:
        return project_for(session, caller, to)
    except GarageError as error:
        error.pointer = "/project"
        raise


def _check_rests(machine: Machine) -> None:
    if State(machine.state) not in RESTS:
        raise GarageError(
            "wrong_state",
            N_("{name} is {state}; it cannot go to another project now"),
            hint=N_("wait until it is ready or off"),
            name=machine.name,
            state=machine.state,
        )


def _held(session: Session, machine: Machine) -> dict[str, int]:
    """What it counts for in a quota, its snapshots with it."""
    if State(machine.state) not in COUNTED:
        return {}
    kept = session.scalar(select(func.sum(Snapshot.held_gib)).where(Snapshot.machine_id == machine.id)) or 0
    disk = machine.disk_gib + int(kept)
    return {"machines": 1, "vcpus": machine.vcpus, "memory_mib": machine.memory_mib, "disk_gib": disk}


def _go(session: Session, ctx: Context, caller: Caller, machine: Machine, target: Project) -> None:
    """Both projects read of it in their audit log, and pages of the old one are told that it is theirs no more."""
    before = machine.project
    subject = f"{machine.name}.{before.name}"
    for project in (before, target):
        audit(session, ctx, caller.name, "machine.transfer", subject, project_id=project.id, to=target.name)
    gone = {"id": machine.id, "name": machine.name, "state": State.GONE.value, "step": "", "state_since": ctx.clock()}
    session.add(EventRow(at=ctx.clock(), kind="machine", project_id=before.id, subject=machine.id, data=gone))
    machine.project = target
    if ctx.request:
        machine.request = ctx.request
    session.flush()
    wanted = keys.of_project(session, target.id)
    if machine.authorized_keys != wanted:
        machine.authorized_keys, machine.keys_applied = wanted, False
    raise_specs(session, {node for node in (machine.node, machine.moving_to) if node})
    publish_machine(session, ctx, machine)
    session.flush()
