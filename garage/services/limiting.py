"""How much one machine may take of what its node shares, changed by an admin: in force on a machine that runs, too."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from garage.core import machine_limits
from garage.core.states import State
from garage.db.models import Setting
from garage.errors import N_, GarageError
from garage.services import machines
from garage.services.context import Caller, Context, audit, publish_machine
from garage.services.rights import machine_for, require_admin
from garage.services.specs import raise_specs
from garage.services.views import MachineView

MARK = "limits"
"""The setting that says which settings the nodes' specs were made of."""


def limit(ctx: Context, caller: Caller, ref: str, changes: Mapping[str, int | None]) -> MachineView:
    """Figures by the names of `core.machine_limits`; None: as its size has it; what is not named stays (admin)."""
    require_admin(caller)
    machine_limits.check({name: value for name, value in changes.items() if value is not None})
    with ctx.db.write() as session:
        machine = machine_for(session, caller, ref)
        if machine.state in (State.DELETING.value, State.GONE.value):
            raise GarageError(
                "wrong_state",
                N_("{name} is {state}; nothing of it can be changed"),
                hint=N_("make a new one: garage machine create"),
                name=machine.name,
                state=machine.state,
            )
        wanted = {name: value for name, value in {**machine.limits, **changes}.items() if value is not None}
        if wanted != machine.limits:
            machine.limits, machine.disk_limits = wanted, ""  # its worker tells the domain, whatever that has now
            raise_specs(session, {node for node in (machine.node, machine.moving_to) if node})
            subject = f"{machine.name}.{machine.project.name}"
            audit(session, ctx, caller.name, "machine.limit", subject, project_id=machine.project_id, **wanted)
            publish_machine(session, ctx, machine)
            session.flush()
        return machines.view_of(session, ctx, machine)


def follow_settings(ctx: Context) -> None:
    """When a process that hands out specs begins: other settings than the last time are news for every node."""
    said = hashlib.sha256(json.dumps(dict(ctx.config.limits), sort_keys=True).encode()).hexdigest()
    with ctx.db.write() as session:
        row = session.get(Setting, MARK)
        if row is None or row.value != said:
            session.merge(Setting(key=MARK, value=said))
            raise_specs(session)
