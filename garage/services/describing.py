"""What people call a machine and write on it: its name, tags, notes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from garage.core import names, tags
from garage.core.states import State
from garage.db.machine_models import MachineTag
from garage.db.models import Machine
from garage.errors import N_, GarageError
from garage.services import machines
from garage.services.capacity import EXISTS
from garage.services.context import Caller, Context, audit, publish_machine
from garage.services.rights import machine_for, readable
from garage.services.specs import raise_specs
from garage.services.views import MachineView


def describe(
    ctx: Context,
    caller: Caller,
    ref: str,
    *,
    name: str | None = None,
    tags_: Iterable[str] | None = None,
    notes: str | None = None,
) -> MachineView:
    """What is None stays as it is. A new name is its DNS name at once; inside, the machine goes by its old one until it is rebuilt."""
    wanted = None if tags_ is None else tags.check(tags_)
    text = None if notes is None else tags.check_notes(notes)
    with ctx.db.write() as session:
        machine = machine_for(session, caller, ref)
        _check_alive(machine)
        before, changed = machine.name, dict[str, object]()
        if name is not None and name != machine.name:
            _rename(session, machine, names.check_label(name, field="name"))
            changed["name"] = name
        if wanted is not None and write_tags(session, machine, wanted):
            changed["tags"] = wanted
        if text is not None and text != machine.notes:
            machine.notes, changed["notes"] = text, len(text)
        if changed:
            subject = f"{before}.{machine.project.name}"
            audit(session, ctx, caller.name, "machine.describe", subject, project_id=machine.project_id, **changed)
            publish_machine(session, ctx, machine)
            session.flush()
        return machines.view_of(session, ctx, machine)


def _rename(session: Session, machine: Machine, name: str) -> None:
    machines.check_names_free(session, machine.project, [name])
    machine.name = name
    raise_specs(session, {node for node in (machine.node, machine.moving_to) if node})


def _check_alive(machine: Machine) -> None:
    if machine.state in (State.DELETING.value, State.GONE.value):
        raise GarageError(
            "wrong_state",
            N_("{name} is {state}; nothing of it can be changed"),
            hint=N_("make a new one: garage machine create"),
            name=machine.name,
            state=machine.state,
        )


def write_tags(session: Session, machine: Machine, wanted: Sequence[str]) -> bool:
    """Whether that changes anything; `wanted` is checked."""
    have = set(session.scalars(select(MachineTag.tag).where(MachineTag.machine_id == machine.id)))
    if lost := have - set(wanted):
        session.execute(delete(MachineTag).where(MachineTag.machine_id == machine.id, MachineTag.tag.in_(lost)))
    session.add_all(MachineTag(tag=tag, machine_id=machine.id) for tag in wanted if tag not in have)
    return have != set(wanted)


def in_use(ctx: Context, caller: Caller, limit: int = 50) -> list[tuple[str, int]]:
    """Tags on the caller's machines with how many have each, the most used first."""
    query = select(MachineTag.tag, func.count()).join(Machine, Machine.id == MachineTag.machine_id)
    query = query.where(EXISTS, readable(caller, Machine.project_id)).group_by(MachineTag.tag)
    with ctx.db.read() as session:
        rows = session.execute(query.order_by(func.count().desc(), MachineTag.tag).limit(limit))
        return [(tag, number) for tag, number in rows]
