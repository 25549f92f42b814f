"""What has to be done for volumes, as a list of values; like `core.plan`, by what is there now alone. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from garage.core.changes import AttachVolume, Change, DetachVolume, GrowVolume, MakeVolume, RemoveVolume
from garage.core.volumes import Volume, VolumeState


def of_machine(volumes: Sequence[Volume], *, live: bool, patient: bool = False) -> list[Change]:
    """For all volumes of a machine that runs (`live`) or is off: what one guest does not let go of keeps no other waiting."""
    return [change for volume in volumes for change in _with_machine(volume, live, patient)]


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
    match volume.state:
        case VolumeState.MAKING:
            return [MakeVolume(volume)]
        case VolumeState.AVAILABLE if volume.made_gib < volume.size_gib:
            return [GrowVolume(volume, live=False)]
        case VolumeState.DELETING:
            return [RemoveVolume(volume)]
        case _:
            return []
