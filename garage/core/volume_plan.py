"""What has to be done for volumes, as a list of values; like `core.plan`, by what is there now alone. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from garage.core.changes import (
    AttachVolume,
    Change,
    CopyVolume,
    DetachVolume,
    GrowVolume,
    MakeVolume,
    RemoveVolume,
    RemoveVolumeSnapshot,
    RevertVolume,
)
from garage.core.volumes import Volume, VolumeState

IN_GUEST = (VolumeState.ATTACHED, VolumeState.DETACHING)
"""In which a guest that runs has it."""


def of_machine(volumes: Sequence[Volume], *, live: bool, patient: bool = False) -> list[Change]:
    """For all volumes of a machine that runs (`live`) or is off: what one guest does not let go of keeps no other waiting."""
    return [
        change
        for volume in volumes
        for change in _with_snapshots(volume, live=live, patient=patient) or _with_machine(volume, live, patient)
    ]


def before_start(volumes: Iterable[Volume]) -> list[Change]:
    """What has to be done for a machine's volumes before a guest writes on them: whoever asked for a copy asked for what is there now."""
    return [change for volume in volumes for change in _with_snapshots(volume, live=False)]


def _with_machine(volume: Volume, live: bool, patient: bool) -> list[Change]:
    match volume.state:
        case VolumeState.ATTACHING:
            return [AttachVolume(volume, live)]
        case VolumeState.DETACHING:
            return [DetachVolume(volume, live, patient)]
        case VolumeState.ATTACHED if volume.made_gib < volume.size_gib:
            return [GrowVolume(volume, live)]
        case _:
            return []


def alone(volume: Volume) -> list[Change]:
    """For one that no machine has."""
    if first := _with_snapshots(volume, live=False):
        return first
    match volume.state:
        case VolumeState.MAKING:
            return [MakeVolume(volume)]
        case VolumeState.AVAILABLE if volume.made_gib < volume.size_gib:
            return [GrowVolume(volume, live=False)]
        case VolumeState.DELETING:
            return [RemoveVolume(volume)]
        case _:
            return []


def _with_snapshots(volume: Volume, *, live: bool, patient: bool = False) -> list[Change]:
    """The first thing that is wanted of its snapshots, the next when that is recorded. Where a guest runs QEMU copies, and nothing
    is returned beneath it; those of a volume that goes go with it."""
    if volume.state is VolumeState.DELETING:
        return []
    for order in volume.orders:
        if order.remove:
            return [RemoveVolumeSnapshot(volume, order.id)]
        if not live or volume.state in IN_GUEST:
            return [CopyVolume(volume, order, live, patient and live)]
    return [RevertVolume(volume)] if volume.state is VolumeState.REVERTING and not live else []
