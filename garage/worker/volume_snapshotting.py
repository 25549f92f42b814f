"""Carries out the changes that concern volumes' snapshots.

A worker may be killed at any moment: a copy is whole under its name or not there, so whoever carries the change out next goes on.
"""

from __future__ import annotations

import contextlib

from garage.core import changes as p
from garage.core.volumes import Volume
from garage.errors import GarageError
from garage.services.volume_snapshot_notes import VolumeCopied, VolumeNotCopied, VolumeReverted, VolumeSnapshotGone
from garage.services.work import Hold
from garage.worker import failpoint
from garage.worker.errands import Tools, check, write

SnapshotChange = p.CopyVolume | p.RevertVolume | p.RemoveVolumeSnapshot


def apply(tools: Tools, hold: Hold, change: SnapshotChange) -> None:
    """Raises Stale, or GarageError where it is to be tried again; why it was not done is recorded."""
    match change:
        case p.CopyVolume(volume, snapshot):
            _copy(tools, hold, volume, snapshot)
        case p.RevertVolume(volume):
            _revert(tools, hold, volume)
        case p.RemoveVolumeSnapshot(volume, snapshot):
            tools.disks.volumes.forget(volume.id, snapshot)
            failpoint.step()
            write(tools, hold, VolumeSnapshotGone(volume.id, snapshot))


def _copy(tools: Tools, hold: Hold, volume: Volume, snapshot: str) -> None:
    """What an earlier worker had made and not recorded is recorded."""
    files = tools.disks.volumes
    try:
        size = files.kept(volume.id, snapshot)
        if size is None:
            check(tools)
            files.copy(volume.id, snapshot)
            failpoint.step()
            size = files.kept(volume.id, snapshot)
    except GarageError as error:
        if error.code == "hypervisor_away":
            raise
        with contextlib.suppress(GarageError):
            files.forget(volume.id, snapshot)
        write(tools, hold, VolumeNotCopied(volume.id, snapshot, error.as_dict()))
        return
    write(tools, hold, VolumeCopied(volume.id, snapshot, size or 0))


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
