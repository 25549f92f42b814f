"""Carries out the changes that concern volumes' snapshots.

A worker may be killed at any moment: a copy is whole under its name or not there, so whoever carries the change out next goes on. What it
left of a copy that a guest's QEMU makes is ended, as in `snapshotting`.
"""

from __future__ import annotations

import contextlib

from garage.core import changes as p
from garage.core.changes import Wanted
from garage.core.snapshots import How
from garage.core.volumes import Volume
from garage.errors import GarageError
from garage.services.volume_snapshot_notes import VolumeCopied, VolumeNotCopied, VolumeReverted, VolumeSnapshotGone
from garage.services.work import Hold
from garage.worker import failpoint
from garage.worker.errands import Tools, check, write
from garage.worker.snapshotting import check_runs, teller

SnapshotChange = p.CopyVolume | p.RevertVolume | p.RemoveVolumeSnapshot


def apply(tools: Tools, hold: Hold, machine: Wanted | None, change: SnapshotChange) -> None:
    """Raises Stale, or GarageError where it is to be tried again; why it was not done is recorded."""
    match change:
        case p.CopyVolume():
            _keep(tools, hold, machine, change)
        case p.RevertVolume(volume):
            _revert(tools, hold, volume)
        case p.RemoveVolumeSnapshot(volume, snapshot):
            _end(tools, machine)
            tools.disks.volumes.forget(volume.id, snapshot)
            failpoint.step()
            write(tools, hold, VolumeSnapshotGone(volume.id, snapshot))


def _end(tools: Tools, machine: Wanted | None) -> None:
    """A copy that an earlier worker left."""
    if machine is not None:
        tools.hypervisor.end_copy(machine.id)
        failpoint.step()
        check(tools)


def _keep(tools: Tools, hold: Hold, machine: Wanted | None, wanted: p.CopyVolume) -> None:
    """What an earlier worker had made and not recorded is recorded."""
    volume, snapshot, files = wanted.volume, wanted.order.id, tools.disks.volumes
    _end(tools, machine)
    try:
        size = files.kept(volume.id, snapshot)
        off = machine is None or (not wanted.live and size is None)
        how = How.OFF if off else How.FROZEN if wanted.order.frozen else How.CRASH
        if size is None:
            check(tools)
            _copy(tools, machine, wanted)
            failpoint.step()
            size = files.kept(volume.id, snapshot)
    except GarageError as error:
        if wanted.patient and error.code == "unavailable":
            raise
        _give_up(tools, hold, machine, wanted, error)
        return
    write(tools, hold, VolumeCopied(volume.id, snapshot, size or 0, how))


def _copy(tools: Tools, machine: Wanted | None, wanted: p.CopyVolume) -> None:
    volume, order, files = wanted.volume, wanted.order, tools.disks.volumes
    if machine is None or not wanted.live:
        files.copy(volume.id, order.id)
        return
    draft = files.draft(volume.id, order.id)
    failpoint.step()
    check(tools)
    told = teller(tools, machine, order)
    tools.hypervisor.copy_volume(machine.id, volume.id, draft, frozen=order.frozen, told=told)
    failpoint.step()
    check(tools)
    files.keep(volume.id, order.id)


def _give_up(tools: Tools, hold: Hold, machine: Wanted | None, wanted: p.CopyVolume, error: GarageError) -> None:
    """As `snapshotting` does: for good, unless the node does not answer, or the machine went off meanwhile."""
    if error.code == "hypervisor_away":
        raise error
    if machine is not None and wanted.live:
        check_runs(tools, machine)
    with contextlib.suppress(GarageError):
        tools.disks.volumes.forget(wanted.volume.id, wanted.order.id)
    write(tools, hold, VolumeNotCopied(wanted.volume.id, wanted.order.id, error.as_dict()))


def _revert(tools: Tools, hold: Hold, volume: Volume) -> None:
    try:
        tools.disks.volumes.restore(volume.id, volume.revert_to, volume.size_gib)
    except GarageError as error:
        if error.code == "hypervisor_away":
            raise
        write(tools, hold, VolumeNotCopied(volume.id, volume.revert_to, error.as_dict()))
        return
    failpoint.step()
    write(tools, hold, VolumeReverted(volume.id, volume.revert_to))
