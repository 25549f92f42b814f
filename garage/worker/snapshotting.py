"""Carries out the changes that concern snapshots.

A worker may be killed at any moment. A copy that it left unfinished is ended, and a guest that it left frozen is thawed, by whoever carries
that order out next; should nobody, the guest does it itself (`shell.guest_agent`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from garage.core import changes as p
from garage.core.changes import Change, Wanted
from garage.core.hypervisor_types import Power
from garage.core.snapshots import How, Order
from garage.core.states import State
from garage.errors import GarageError
from garage.services.snapshot_notes import SnapshotFailed, SnapshotGone, SnapshotMade
from garage.services.work import Hold
from garage.worker import failpoint
from garage.worker.errands import Stale, Tools, check, write

CHANGES = (p.TakeSnapshot, p.RemoveSnapshot, p.RemoveSnapshots, p.RestoreDisk)


def apply(tools: Tools, hold: Hold, machine: Wanted, change: Change) -> None:
    """Raises Stale, or GarageError."""
    match change:
        case p.TakeSnapshot():
            _take(tools, hold, machine, change)
        case p.RemoveSnapshot(snapshot):
            tools.hypervisor.end_copy(machine.id)
            failpoint.step()
            check(tools)
            tools.disks.snapshots.remove(machine.id, snapshot)
            failpoint.step()
            write(tools, hold, SnapshotGone(machine.id, snapshot))
        case p.RemoveSnapshots():
            tools.disks.snapshots.remove_all(machine.id)
        case p.RestoreDisk(snapshot):
            _restore(tools, hold, machine, snapshot)


def _take(tools: Tools, hold: Hold, machine: Wanted, wanted: p.TakeSnapshot) -> None:
    """What an earlier worker had made and not recorded is recorded."""
    order, live = wanted.order, wanted.live
    tools.hypervisor.end_copy(machine.id)
    failpoint.step()
    files = tools.disks.snapshots
    found = files.size(machine.id, order.id)
    how = How.OFF if not live and found is None else How.FROZEN if order.frozen else How.CRASH
    try:
        if found is None:
            check(tools)
            _copy(tools, machine, order, live=live)
            failpoint.step()
        size = found or files.size(machine.id, order.id) or 0
    except GarageError as error:
        if wanted.patient and error.code == "unavailable":
            raise
        _give_up(tools, hold, machine, order, error, live=live)
        return
    write(tools, hold, SnapshotMade(machine.id, order.id, size, how))


def _copy(tools: Tools, machine: Wanted, order: Order, *, live: bool) -> None:
    files = tools.disks.snapshots
    if not live:
        files.copy(machine.id, order.id)
        return
    draft, image = (
        files.draft(machine.id, order.id, machine.image),
        tools.disks.image_path(machine.image) / "disk.qcow2",
    )
    failpoint.step()
    check(tools)
    told = teller(tools, machine, order)
    tools.hypervisor.copy_disk(machine.id, draft, image, frozen=order.frozen, told=told)
    failpoint.step()
    check(tools)
    files.keep(machine.id, order.id)


def teller(tools: Tools, machine: Wanted, order: Order) -> Callable[[int], None]:
    """Calls it off as soon as it, or the machine as it is, is wanted no more: who asks for a stop does not wait for a copy."""

    def told(percent: int) -> None:
        failpoint.step()
        check(tools)
        if percent < 100 and not tools.snapshot_wanted(machine, order.id):
            raise Stale

    return told


def _give_up(tools: Tools, hold: Hold, machine: Wanted, order: Order, error: GarageError, *, live: bool) -> None:
    """For good, unless the node does not answer, or the machine went off meanwhile."""
    if error.code == "hypervisor_away":
        raise error
    if live:
        check_runs(tools, machine)
    with contextlib.suppress(GarageError):
        tools.disks.snapshots.remove(machine.id, order.id)
    write(tools, hold, SnapshotFailed(machine.id, order.id, error.as_dict()))


def check_runs(tools: Tools, machine: Wanted) -> None:
    """Raises Stale when it went off meanwhile: then the copy is made of one that is off."""
    domain = tools.hypervisor.look(machine.id)
    if domain is None or domain.power is not Power.RUNNING:
        raise Stale


def _restore(tools: Tools, hold: Hold, machine: Wanted, snapshot: str) -> None:
    """Where it fails the disk is what it was; a machine that is about to start on it fails instead."""
    try:
        tools.disks.snapshots.restore(machine.id, snapshot)
    except GarageError as error:
        if error.code == "hypervisor_away" or machine.state is State.BOOTING:
            raise
        write(tools, hold, SnapshotFailed(machine.id, snapshot, error.as_dict(), returning=True))
        raise Stale from None
