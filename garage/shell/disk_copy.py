"""A running guest's disk as it was at one moment, written into a file by its QEMU: libvirt's calls and words.

QEMU mirrors the overlay alone into another one on the same image (virDomainBlockCopy, shallow), or a volume into a file like it. Once both
are alike, ending the mirror leaves the copy as the disk was at that moment (QEMU's documentation, "Live Block Operations"); only then, for
a fraction of a second, do the guest's file systems have to be frozen. The disk in use stays the same file all the time.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import libvirt

from garage.core.domain_xml import volume_devices, volume_in
from garage.errors import N_, GarageError

DISK = "vda"
LOOK = 0.2
"""Seconds between looks at the progress."""
LIMIT = 3600.0
"""Seconds that a copy may take at all."""
FLAGS = (
    libvirt.VIR_DOMAIN_BLOCK_COPY_SHALLOW
    | libvirt.VIR_DOMAIN_BLOCK_COPY_REUSE_EXT
    | libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB
)


@dataclass(frozen=True, slots=True)
class Mirror:
    """Of one disk of a guest, into an empty file that is there."""

    target: Path
    image: Path | None = None
    """On which the disk lies, and the file."""
    volume: str = ""
    """Its id; empty for the machine's own disk."""

    def device(self, domain: Any) -> str:
        """What libvirt calls it."""
        if not self.volume:
            return DISK
        if (found := volume_in(domain.XMLDesc(), self.volume)) is None:
            raise libvirt.libvirtError("the domain does not have the disk")
        return found[1]


def begin(domain: Any, mirror: Mirror) -> None:
    """Start it."""
    end(domain)
    domain.blockCopy(mirror.device(domain), _target_xml(mirror), {}, FLAGS)


def _target_xml(mirror: Mirror) -> str:
    """The image below keeps its owner, as in `core.domain_xml`."""
    disk = ET.Element("disk", type="file")
    kind = "qcow2" if mirror.image else "raw"
    ET.SubElement(disk, "driver", name="qemu", type=kind, cache="writeback", discard="unmap")
    ET.SubElement(disk, "source", file=str(mirror.target))
    below = ET.SubElement(disk, "backingStore", type="file") if mirror.image else None
    if below is not None:
        ET.SubElement(below, "format", type="qcow2")
        source = ET.SubElement(below, "source", file=str(mirror.image))
        ET.SubElement(source, "seclabel", model="dac", relabel="no")
        ET.SubElement(below, "backingStore")
    return ET.tostring(disk, encoding="unicode")


def percent(domain: Any, mirror: Mirror) -> int:
    """0-99 while it comes nearer, 100 when both are alike and stay so. `hypervisor_error` when there is no mirror (any more)."""
    found = domain.blockJobInfo(mirror.device(domain))
    if not found:
        raise GarageError(
            "hypervisor_error",
            N_("copying its disk has ended too early"),
            hint=N_("is there room on the node, and did the machine go on running?"),
        )
    done, total = int(found["cur"]), int(found["end"])
    if total and done == total:
        return 100
    return min(99, done * 100 // total) if total else 0


def finish(domain: Any, mirror: Mirror) -> None:
    """The target is the disk as it is at this moment. Raises libvirtError where the mirror broke off before, e.g. for want of room."""
    domain.blockJobAbort(mirror.device(domain))


def end(domain: Any) -> None:
    """End each mirror that there is; when this returns, no target is QEMU's any more."""
    for device in (DISK, *volume_devices(domain.XMLDesc())) if domain.isActive() else ():
        if domain.blockJobInfo(device):
            with contextlib.suppress(libvirt.libvirtError):  # it may have ended this very moment
                domain.blockJobAbort(device)
