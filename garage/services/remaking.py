"""The same machine anew: on a fresh disk (rebuild), or of another size (resize). Name, addresses, keys and lease stay."""

from __future__ import annotations

from dataclasses import asdict, replace

from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from garage.core.changes import Redo
from garage.core.hypervisor_types import Shape
from garage.core.placement import shortfall
from garage.core.pool import Cold
from garage.core.refusal import short
from garage.core.states import Event, State
from garage.core.types import Demand
from garage.db.models import Machine, Size
from garage.errors import N_, GarageError
from garage.services import capacity, growing, images, machines, moving, snapshots
from garage.services.context import Caller, Context, audit, publish_machine
from garage.services.rights import machine_for
from garage.services.transitions import fire
from garage.services.views import MachineView

OFF = (State.STOPPED.value, State.FAILED.value)


def rebuild(ctx: Context, caller: Caller, ref: str, *, image: str | None = None) -> MachineView:
    """A new disk from `image` (default: the newest of its image's name), made by the worker; everything on the old one is lost."""
    with ctx.db.write() as session:
        machine = machine_for(session, caller, ref)
        moving.check_stays(machine)
        machines.check_start(session, ctx, machine)
        found = images.find(session, caller, machine.image.name if image is None else image)
        machines.check_fits(found, machine.size, machine.disk_gib, "/image")
        snapshots.check_none_made(session, machine)
        machine.image_id, machine.redo, machine.rebuilt_at = found.id, Redo.DISK.value, ctx.clock()
        machine.revert_to = ""
        set_committed_value(machine, "image", found)
        machine.wants_running, machine.taken, machine.ready_at, machine.keys_applied = True, False, None, True
        machine.cold_reason, machine.cold_detail = Cold.OFF.value, ""
        fire(session, ctx, machine, Event.REBUILD)
        subject = f"{machine.name}.{machine.project.name}"
        audit(session, ctx, caller.name, "machine.rebuild", subject, project_id=machine.project_id, image=found.name)
        session.flush()
        return machines.view_of(session, ctx, machine)


def resize(ctx: Context, caller: Caller, ref: str, size: str) -> MachineView:
    """Another size: of a machine that is off from the next start on, of one that runs as soon as its worker has done it, and then only
    larger. Its disk grows with it and never shrinks."""
    with ctx.db.write() as session:
        machine = machine_for(session, caller, ref)
        wanted = machines.find_size(session, size)
        runs = machine.state == State.READY.value
        if not runs and machine.state not in OFF:
            raise GarageError(
                "wrong_state",
                N_("{name} is {state}; its size can be changed while it is ready or off"),
                hint=N_("wait until it is one of them"),
                name=machine.name,
                state=machine.state,
            )
        moving.check_stays(machine)
        before, to = (
            growing.shape_of(machine),
            Shape(wanted.vcpus, wanted.memory_mib, max(wanted.disk_gib, machine.disk_gib)),
        )
        if runs:
            growing.check(session, ctx, machine, to)
            machine.grown_from = {"size": machine.size, **asdict(before)} if to != before else None
        else:
            _check_room(session, ctx, machine, wanted, to.disk_gib)
            if to.disk_gib > machine.disk_gib and machine.redo == Redo.NOTHING.value:
                machine.redo = Redo.SIZE.value
        _become(session, ctx, caller, machine, wanted.name, to)
        return machines.view_of(session, ctx, machine)


def _become(session: Session, ctx: Context, caller: Caller, machine: Machine, size: str, to: Shape) -> None:
    before, machine.size, machine.resize_error = machine.size, size, None
    machine.vcpus, machine.memory_mib, machine.disk_gib = to.vcpus, to.memory_mib, to.disk_gib
    if ctx.request:
        machine.request = ctx.request
    subject, sizes = f"{machine.name}.{machine.project.name}", {"before": before, "size": size}
    audit(session, ctx, caller.name, "machine.resize", subject, project_id=machine.project_id, **sizes)
    publish_machine(session, ctx, machine)
    session.flush()


def _check_room(session: Session, ctx: Context, machine: Machine, size: Size, disk: int) -> None:
    """The project's quota, the node's disk, and that the node could ever run it; whether it can now is asked when it starts."""
    more = {
        "vcpus": size.vcpus - machine.vcpus,
        "memory_mib": size.memory_mib - machine.memory_mib,
        "disk_gib": disk - machine.disk_gib,
    }
    capacity.check_growth(session, machine.project, more)
    if all(amount <= 0 for amount in more.values()):
        return
    room = capacity.room_of(session, ctx, machine.node, without=machine)
    empty = replace(room, used=Demand(0, 0, 0), facts=replace(room.facts, memory_available_mib=None))
    for place, demand in ((room, Demand(0, 0, disk)), (empty, Demand(size.vcpus, size.memory_mib, 0))):
        if shortfall(place, demand) is not None:
            raise short(place, demand)
