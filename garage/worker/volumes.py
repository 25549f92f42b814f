"""Carries out the changes that concern volumes, of machines or alone."""

from __future__ import annotations

from garage.core import changes as p
from garage.core.changes import Change, Wanted
from garage.core.volumes import Volume, by_id
from garage.errors import N_, GarageError
from garage.services.volume_notes import VolumeAttached, VolumeDetached, VolumeGone, VolumeMade, VolumeRefused
from garage.services.work import Hold
from garage.worker import failpoint, volume_snapshotting
from garage.worker.errands import Tools, check, disks_of, write

OF_MACHINE = (
    p.AttachVolume, p.DetachVolume, p.GrowVolume, p.CopyVolume, p.RevertVolume, p.RemoveVolumeSnapshot,
)  # fmt: skip
AT_REST = """[ ! -e {path} ] || {{ sync; [ -z "$(lsblk -nro MOUNTPOINT {path} | tr -d '\\n')" ] &&
[ -z "$(lsblk -nro TYPE {path} | grep -vx -e disk -e part)" ]; }}
"""
"""A shell script for a guest, as root: ends with 0 unless it has mounted the disk, swaps on it, or has LVM or the like on top."""
AT_REST_SECONDS = 30.0
"""That it may take: what was written goes to the disk first."""


def apply(tools: Tools, hold: Hold, machine: Wanted | None, change: Change) -> None:
    """Raises Stale, or GarageError where it is to be tried again; why it was not done is recorded."""
    match change:
        case p.MakeVolume(volume) | p.AttachVolume(volume) | p.DetachVolume(volume) | p.GrowVolume(volume):
            try:
                _do(tools, hold, machine, volume, change)
            except GarageError as error:
                if error.code == "hypervisor_away" or _waits(change, error):
                    raise
                stays = error.code == "unavailable"
                write(tools, hold, VolumeRefused(volume.id, volume.state, error.as_dict(), stays=stays))
                if stays:
                    raise
        case p.CopyVolume() | p.RevertVolume() | p.RemoveVolumeSnapshot():
            volume_snapshotting.apply(tools, hold, machine, change)
        case p.RemoveVolume(volume):
            tools.disks.volumes.remove(volume.id)
            failpoint.step()
            write(tools, hold, VolumeGone(volume.id))


def _waits(change: Change, error: GarageError) -> bool:
    """For a guest's agent, which is still starting."""
    return isinstance(change, p.DetachVolume) and change.patient and error.code == "hypervisor_error"


def _do(tools: Tools, hold: Hold, machine: Wanted | None, volume: Volume, change: Change) -> None:
    if machine is None:
        files = tools.disks.volumes
        (files.make if isinstance(change, p.MakeVolume) else files.grow)(volume.id, volume.size_gib)
        failpoint.step()
        write(tools, hold, VolumeMade(volume.id, volume.size_gib))
        return
    match change:
        case p.AttachVolume(_, live):
            if live:
                [disk] = disks_of(tools, machine, [volume])
                tools.hypervisor.attach_volume(machine.id, disk)
                failpoint.step()
            write(tools, hold, VolumeAttached(volume.id, machine.id))
        case p.DetachVolume(_, live, patient):
            if live:
                _take_back(tools, machine.id, volume, patient=patient)
                failpoint.step()
            write(tools, hold, VolumeDetached(volume.id, machine.id))
        case p.GrowVolume(_, live):
            if live:
                tools.hypervisor.resize_volume(machine.id, volume.id, volume.size_gib)
            else:
                tools.disks.volumes.grow(volume.id, volume.size_gib)
            failpoint.step()
            write(tools, hold, VolumeMade(volume.id, volume.size_gib))


def _take_back(tools: Tools, machine_id: str, volume: Volume, *, patient: bool) -> None:
    """A guest that uses it keeps it. One that was asked, and does not let go within a while, is asked again later: it may do so at any
    moment, so it is not said to have it for good."""
    if not _at_rest(tools, machine_id, volume, patient=patient):
        raise GarageError(
            "in_use",
            N_("the machine has {volume} mounted, or uses it otherwise"),
            hint=N_("unmount it there first (umount {path}), or stop the machine"),
            volume=volume.name,
            path=by_id(volume.id),
        )
    failpoint.step()
    check(tools)
    if not tools.hypervisor.detach_volume(machine_id, volume.id):
        raise GarageError(
            "unavailable",
            N_("the machine was asked to let go of {volume}, and has not"),
            hint=N_("it is asked again; stopping the machine helps for certain"),
            volume=volume.name,
        )


def _at_rest(tools: Tools, machine_id: str, volume: Volume, *, patient: bool) -> bool:
    """As its agent says; a guest without one is believed to know what its owner does."""
    script = AT_REST.format(path=by_id(volume.id))
    try:
        return tools.hypervisor.execute(machine_id, script, wait=AT_REST_SECONDS)
    except GarageError as error:
        if error.code != "hypervisor_error" or patient:
            raise
        return True
