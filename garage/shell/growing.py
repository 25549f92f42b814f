"""A domain that runs grows, by libvirt; each function is one call's work on a domain object."""

from __future__ import annotations

import json
import re
from typing import Any
from xml.etree import ElementTree as ET

import libvirt
import libvirt_qemu

from garage.core.domain_xml import DISK, render_memory
from garage.core.growth import dimms, free_regions
from garage.core.hypervisor_types import Shape
from garage.errors import N_, GarageError

LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE
GIB = 1 << 30
CODE = re.compile(r"gen code size +(\d+)/(\d+)")
"""What QEMU says of its translated code: bytes used, bytes that there are."""


def shape(domain: Any) -> Shape:
    return Shape(domain.vcpusFlags(LIVE), _memory_mib(domain), domain.blockInfo(DISK)[0] // GIB)


def grow(domain: Any, to: Shape) -> None:
    """By what is there now, so that doing it again is harmless. What is refused most easily comes first."""
    if domain.vcpusFlags(LIVE) < to.vcpus:
        _add_vcpus(domain, to.vcpus)
    for size in dimms(_memory_mib(domain), to.memory_mib):
        domain.attachDeviceFlags(render_memory(size), LIVE)
    if domain.blockInfo(DISK)[0] < to.disk_gib * GIB:
        domain.blockResize(DISK, to.disk_gib * GIB, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)


def _add_vcpus(domain: Any, to: int) -> None:
    """A QEMU that emulates ends itself where a new vCPU finds no room for its code (`core.growth.free_regions`): that is counted while
    nothing is translated."""
    if ET.fromstring(domain.XMLDesc()).get("type") != "qemu":  # noqa: S314  (libvirt's own)
        domain.setVcpusFlags(to, LIVE)
        return
    domain.suspend()
    try:
        _check_room(domain, to)
        domain.setVcpusFlags(to, LIVE)
    finally:
        domain.resume()


def _check_room(domain: Any, to: int) -> None:
    answer = libvirt_qemu.qemuMonitorCommand(domain, json.dumps({"execute": "x-query-jit"}), 0)
    found, has = CODE.search(answer), domain.vcpusFlags(LIVE)
    if found is None or free_regions(int(found[1]), int(found[2]), domain.maxVcpus(), has) < to - has:
        raise GarageError(
            "unavailable",
            N_("its emulator can take no more vCPUs at the moment"),
            hint=N_("try again later, or change its size while it is off"),
        )


def _memory_mib(domain: Any) -> int:
    """What it booted with and what was plugged in; libvirt says it in KiB."""
    said = ET.fromstring(domain.XMLDesc()).findtext("memory", "0")  # noqa: S314  (libvirt's own)
    return int(said) // 1024
