"""A running guest's disk as it was at one moment, written into a file by its QEMU: libvirt's calls and words.

QEMU mirrors the overlay alone into another one on the same image (virDomainBlockCopy, shallow). Once both are alike, ending the mirror
leaves the copy as the disk was at that moment (QEMU's documentation, "Live Block Operations"); only then, for a fraction of a second, do
the guest's file systems have to be frozen. The disk in use stays the same file, with the same image below it, all the time.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import libvirt

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


def begin(domain: Any, target: Path, image: Path) -> None:
    """Start the mirror into the overlay `target`. The image below keeps its owner, as in `core.domain_xml`."""
    end(domain)
    domain.blockCopy(DISK, _target_xml(target, image), {}, FLAGS)


def _target_xml(target: Path, image: Path) -> str:
    disk = ET.Element("disk", type="file")
    ET.SubElement(disk, "driver", name="qemu", type="qcow2", cache="writeback", discard="unmap")
    ET.SubElement(disk, "source", file=str(target))
    below = ET.SubElement(disk, "backingStore", type="file")
    ET.SubElement(below, "format", type="qcow2")
    source = ET.SubElement(below, "source", file=str(image))
    ET.SubElement(source, "seclabel", model="dac", relabel="no")
    ET.SubElement(below, "backingStore")
    return ET.tostring(disk, encoding="unicode")


def percent(domain: Any) -> int:
    """0-99 while it comes nearer, 100 when both are alike and stay so. `hypervisor_error` when there is no mirror (any more)."""
    found = domain.blockJobInfo(DISK)
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


def finish(domain: Any) -> None:
    """The target is the disk as it is at this moment. Raises libvirtError where the mirror broke off before, e.g. for want of room."""
    domain.blockJobAbort(DISK)


def end(domain: Any) -> None:
    """End the mirror, if there is one; when this returns, the target is QEMU's no more."""
    if domain.isActive() and domain.blockJobInfo(DISK):
        with contextlib.suppress(libvirt.libvirtError):  # it may have ended this very moment
            domain.blockJobAbort(DISK)
