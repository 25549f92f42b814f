"""A machine that grows while it runs: what may be asked, and what its worker tells of it.

The row has the new figures at once, so that quota and node count them; `grown_from` keeps the old ones until the guest has the new.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from garage.core.growth import BLOCK_MIB
from garage.core.hypervisor_types import Shape
from garage.core.placement import shortfall
from garage.core.refusal import short
from garage.core.types import Demand
from garage.db.models import Machine, Project
from garage.errors import N_, GarageError
from garage.services import capacity
from garage.services.context import Context, audit, publish_machine


@dataclass(frozen=True, slots=True)
class Grown:
    """The guest was to have `to`, and has `has`; stale if something else is wanted by now."""

    machine: str
    to: Shape
    has: Shape
    error: dict[str, Any] | None = field(default=None, hash=False)


def shape_of(machine: Machine) -> Shape:
    return Shape(machine.vcpus, machine.memory_mib, machine.disk_gib)


def check(session: Session, ctx: Context, machine: Machine, to: Shape) -> None:
    """Raises `wrong_state` where it cannot become that while it runs, `quota_exceeded`, `no_capacity`, `disk_full`."""
    if machine.grown_from is not None:
        raise GarageError(
            "wrong_state", N_("{name} is growing already"), hint=N_("wait until it has"), name=machine.name
        )
    _check_possible(machine, to)
    more = {name: after - before for (name, after), before in zip(asdict(to).items(), _figures(machine), strict=True)}
    capacity.check_growth(session, machine.project, more)
    room = capacity.room_of(session, ctx, machine.node)
    lacks = [Demand(0, 0, more["disk_gib"]), Demand(more["vcpus"], more["memory_mib"], 0)]
    if any(shortfall(room, demand) is not None for demand in lacks if demand != Demand(0, 0, 0)):
        others = [name for name in capacity.stoppable(session, machine.project_id or "") if name != machine.name]
        raise short(capacity.room_without(room, machine), Demand(to.vcpus, to.memory_mib, to.disk_gib), others)


def _figures(machine: Machine) -> tuple[int, int, int]:
    return machine.vcpus, machine.memory_mib, machine.disk_gib


def _check_possible(machine: Machine, to: Shape) -> None:
    memory = to.memory_mib - machine.memory_mib
    if to.vcpus < machine.vcpus or memory < 0:
        raise _off(machine, N_("{name} runs; it can become smaller only while it is off"))
    if memory and machine.image.manifest.get("boot", "kernel") != "kernel":
        raise _off(
            machine,
            N_("{name} runs; the memory of a machine with an image that was brought changes only while it is off"),
        )
    if (
        max(machine.most_vcpus, machine.vcpus) < to.vcpus
        or max(machine.most_memory_mib, machine.memory_mib) < to.memory_mib
    ):
        raise _off(machine, N_("{name} runs, and was started without room to become that large"))
    if memory % BLOCK_MIB:
        raise _off(machine, N_("{name} runs; its memory grows then in steps of {step} MiB"))


def _off(machine: Machine, message: str) -> GarageError:
    hint = N_("stop it first: garage machine stop {name}")
    return GarageError("wrong_state", message, hint=hint, name=machine.name, step=BLOCK_MIB)


def settle(machine: Machine) -> None:
    """It went off before it had grown: its next start makes it true."""
    if machine.grown_from is not None:
        machine.grown_from, machine.redo = None, machine.redo or "size"


def note(session: Session, ctx: Context, machine: Machine, told: Grown) -> bool:
    """Write what became of it. Of what was refused the row keeps what the guest has all the same, and the name of its old size."""
    before = machine.grown_from
    if before is None or shape_of(machine) != told.to:
        return False
    machine.grown_from, machine.resize_error = None, told.error
    if told.has != told.to:
        machine.size = str(before["size"])
        for name, wanted in asdict(told.to).items():
            setattr(machine, name, max(int(before[name]), min(wanted, getattr(told.has, name))))
        code = GarageError.from_dict(told.error).code if told.error else ""
        project = session.get_one(Project, machine.project_id)
        subject = f"{machine.name}.{project.name}"
        audit(session, ctx, "garage", "machine.resize_failed", subject, project_id=machine.project_id,
              size=machine.size, **asdict(shape_of(machine)), code=code)  # fmt: skip
    publish_machine(session, ctx, machine)
    return True
