"""A machine grows while it runs: the domain follows the row, and what has become true is recorded."""

from __future__ import annotations

from garage.core import growth
from garage.core.changes import Wanted
from garage.core.hypervisor_types import Shape
from garage.errors import N_, GarageError
from garage.services.growing import Grown
from garage.services.work import Hold
from garage.worker import failpoint
from garage.worker.errands import Tools, check, write


def grow(tools: Tools, hold: Hold, machine: Wanted, *, patient: bool) -> None:
    """Raises GarageError where it is to be tried again. What was refused for good is recorded with what the guest has all the same."""
    to = Shape(machine.vcpus, machine.memory_mib, machine.disk_gib)
    try:
        tools.hypervisor.grow(machine.id, to)
    except GarageError as error:
        if error.code == "hypervisor_away":
            raise
        failpoint.step()
        write(tools, hold, Grown(machine.id, to, tools.hypervisor.shape(machine.id), error.as_dict()))
        return
    failpoint.step()
    check(tools)
    unused = _tell(tools, machine, patient=patient)
    failpoint.step()
    write(tools, hold, Grown(machine.id, to, to, unused.as_dict() if unused else None))


def _tell(tools: Tools, machine: Wanted, *, patient: bool) -> GarageError | None:
    """Why its guest has not put to use what it has got; raises what an agent that is still starting is waited for with."""
    script = growth.use(machine.vcpus, machine.disk_gib if machine.boot == "kernel" else 0)
    try:
        if tools.hypervisor.execute(machine.id, script, wait=growth.USE_SECONDS):
            return None
    except GarageError as error:
        if error.code != "hypervisor_error" or patient:
            raise
    return GarageError(
        "unavailable",
        N_("{name} has grown, but its system did not say that it uses that"),
        hint=N_("it does after a restart: garage machine reboot {name}"),
        name=machine.name,
    )
