"""Carries out the changes of a move (`core.moves`), on either of its two nodes; and removes what one has left behind."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from garage.core import changes as p
from garage.core import moves
from garage.core.changes import Change, Move, MoveStep, Wanted
from garage.core.hypervisor_types import Power
from garage.errors import N_, GarageError
from garage.services.moving import MoveAsked, MoveDone, MoveEnded, MovePrepared, MoveProgress
from garage.services.work import Cleaned, Hold
from garage.worker import failpoint
from garage.worker.errands import Stale, Tools, check, domain_spec, write

log = logging.getLogger(__name__)
CHANGES = (p.Prepared, p.Migrate, p.AskTarget, p.Confirm, p.EndMove, p.FinishMove)
TELL_EVERY, TELL_STEP = 1.0, 2
"""Seconds, and percent, between two figures of progress: each is a write and an event."""


def apply(tools: Tools, hold: Hold, machine: Wanted, move: Move, change: Change) -> None:
    """Raises Stale, or GarageError."""
    match change:
        case p.Prepared():
            spec = domain_spec(tools, machine)
            failpoint.step()
            write(tools, hold, MovePrepared(machine.id, spec))
        case p.Migrate():
            _migrate(tools, hold, machine, move)
        case p.AskTarget():
            tools.hypervisor.cancel_migration(machine.id)
            if (step := moves.asks(machine, tools.hypervisor.look(machine.id))) is not None:
                write(tools, hold, MoveAsked(machine.id, step))
        case p.Confirm():
            here = moves.arrived(move, tools.hypervisor.look(machine.id))
            write(tools, hold, MoveDone(machine.id) if here else MoveEnded(machine.id, _BROKEN.as_dict()))
        case p.EndMove():
            end(tools, hold, machine, move, None)
        case p.FinishMove():
            write(tools, hold, MoveDone(machine.id))


def _migrate(tools: Tools, hold: Hold, machine: Wanted, move: Move) -> None:
    """What comes back as an error is told by the loop, which knows whether it was the last word."""
    if move.spec is None:
        raise Stale
    tools.hypervisor.cancel_migration(machine.id)
    write(tools, hold, MoveAsked(machine.id, MoveStep.MOVING))
    failpoint.step()
    check(tools)
    pause_ms = tools.hypervisor.migrate(move.spec, move.to, _teller(tools, hold, machine))
    failpoint.step()
    write(tools, hold, MoveDone(machine.id, pause_ms))


def _teller(tools: Tools, hold: Hold, machine: Wanted) -> Callable[[int], None]:
    last = (-TELL_STEP, 0.0)

    def told(percent: int) -> None:
        nonlocal last
        failpoint.step()
        if percent >= last[0] + TELL_STEP and time.monotonic() - last[1] >= TELL_EVERY:
            last = (percent, time.monotonic())
            tools.recorder.put(hold, MoveProgress(machine.id, percent))

    return told


def end(tools: Tools, hold: Hold, machine: Wanted, move: Move, error: GarageError | None) -> None:
    """Call the move off if the machine is here for certain; else nothing: the next plan asks the other end."""
    if move.step is not MoveStep.WANTED or error is not None:
        tools.hypervisor.cancel_migration(machine.id)
        if moves.asks(machine, tools.hypervisor.look(machine.id)) is not None:
            return
    write(tools, hold, MoveEnded(machine.id, error.as_dict() if error else None))


def refused(tools: Tools, hold: Hold, machine: Wanted, move: Move, error: GarageError) -> None:
    """Something that the move needs was refused at this node: call it off, if that is ours to say."""
    if hold.node != move.to.name:
        end(tools, hold, machine, move, error)
    elif move.spec is None:
        write(tools, hold, MoveEnded(machine.id, error.as_dict()))


def clean(tools: Tools, hold: Hold, machine_id: str) -> None:
    """Remove what is here of a machine that is elsewhere. A guest that runs is never touched: then two nodes say it is theirs, and a
    person has to look."""
    domain = tools.hypervisor.look(machine_id)
    if domain is not None and domain.power is Power.RUNNING:
        raise GarageError(
            "wrong_state",
            N_("{machine} runs on {node}, though it is said to be elsewhere"),
            hint=N_("look at both: “virsh list”; destroy the one that is not the truth"),
            machine=machine_id,
            node=hold.node,
        )
    if domain is not None and domain.active:
        check(tools)
        tools.hypervisor.destroy(machine_id)
    if domain is not None:
        check(tools)
        tools.hypervisor.undefine(machine_id)
    failpoint.step()
    check(tools)
    tools.disks.remove(machine_id)
    check(tools)
    tools.hypervisor.forget_console(machine_id)
    write(tools, hold, Cleaned(machine_id))


_BROKEN = GarageError(
    "hypervisor_error",
    N_("the migration was interrupted"),
    hint=N_("the machine is where it was; it is tried again"),
)
