"""Volumes of a domain that runs, by libvirt; each function is one call's work on a domain object."""

from __future__ import annotations

from typing import Any

import libvirt

from garage.core.domain_xml import VolumeDisk, render_volume, volume_in

LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE
GOES = "in the process of unplug"
"""Of QEMU's answer to whoever asks again before the guest has let go."""
LET_GO = 20.0
"""Seconds for which a guest is waited for to let go; emulated and busy it takes some."""
LOOK = 0.25
GIB = 1 << 30


def attach(domain: Any, volume: VolumeDisk) -> None:
    if volume_in(domain.XMLDesc(), volume.id) is None:
        domain.attachDeviceFlags(render_volume(volume), LIVE)


def ask_back(domain: Any, volume_id: str) -> None:
    """libvirt itself waits for some seconds whether the guest lets go."""
    if (found := volume_in(domain.XMLDesc(), volume_id)) is None:
        return
    try:
        domain.detachDeviceFlags(found[0], LIVE)
    except libvirt.libvirtError as error:
        if GOES not in str(error):
            raise


def has(domain: Any, volume_id: str) -> bool:
    return volume_in(domain.XMLDesc(), volume_id) is not None


def resize(domain: Any, volume_id: str, size_gib: int) -> None:
    if (found := volume_in(domain.XMLDesc(), volume_id)) is None:
        raise libvirt.libvirtError("the domain does not have the disk")
    if domain.blockInfo(found[1])[0] < size_gib * GIB:
        domain.blockResize(found[1], size_gib * GIB, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)
