"""A machine that grows while it runs: what its domain must leave room for when it starts, and what its guest is told then. Pure.

Found by trying it (docs/decisions/0150-machines-again.md): vCPUs come by ACPI and wait to be put online; memory comes as DIMMs.
"""

from __future__ import annotations

BLOCK_MIB = 128
"""Linux on x86 takes memory while it runs in whole blocks of this size (`/sys/devices/system/memory/block_size_bytes`)."""
SLOTS = 16
"""DIMMs that a domain may get while it runs; `dimms` needs one for each doubling."""
LARGE_MIB = 64 << 10
"""From here on Linux takes blocks of 2 GiB (`probe_memory_block_size`): such a machine gets no memory while it runs."""
CMDLINE = "memhp_default_state=online swiotlb=2048"
"""Of a kernel that may get memory: it is used as soon as it is there, also after a reboot inside. A kernel that could one day have memory
above 4 GiB keeps 64 MiB of bounce buffers, which nothing in a garage machine needs; these are 4 MiB."""


CODE_MARGIN = 1024
"""Bytes at a region's end that count as used when it is full (TCG_HIGHWATER)."""


def ceilings(vcpus: int, memory_mib: int, largest: tuple[int, int], node_mib: int) -> tuple[int, int]:
    """Up to how many (vCPUs, MiB) a machine that starts with so much may grow: as the largest size has it, memory as its node has it."""
    memory = min(largest[1], node_mib) if memory_mib < LARGE_MIB else 0
    return max(vcpus, largest[0]), max(memory_mib, memory)


def free_regions(used: int, size: int, most: int, vcpus: int) -> int:
    """Of the regions into which an emulating QEMU divides `size` bytes for translated code, those that no vCPU has for certain, but one.
    Each new vCPU takes one, and QEMU ends itself where there is none (`tcg_region_initial_alloc__locked`); when all are full it begins
    anew with empty ones. As many as `tcg_n_regions` in QEMU's tcg/region.c says; each vCPU has one that is not full."""
    regions = max(most, min(size // (2 << 20), most * 8))
    return regions - used // (size // regions - CODE_MARGIN) - vcpus - 1


def dimms(has: int, to: int) -> list[int]:
    """MiB of each DIMM that leads from `has` to `to`. None is larger than what is there before it: a guest describes each page of new
    memory in memory that it has, 1/64 of it."""
    made: list[int] = []
    while has < to:
        step = min(to - has, max(BLOCK_MIB, has // BLOCK_MIB * BLOCK_MIB))
        made.append(step)
        has += step
    return made


USE = r"""n=0
on() {{
  for each in /sys/devices/system/cpu/cpu*/online /sys/devices/system/memory/memory*/online; do
    [ -e "$each" ] && read -r is <"$each" && [ "$is" = 0 ] && echo 1 >"$each"
  done
  [ "$(grep -c ^processor /proc/cpuinfo)" -ge {vcpus} ]
}}
disk() {{
  [ {disk_gib} = 0 ] && return
  root=$(findmnt -no SOURCE /) && read -r size <"/sys/class/block/${{root##*/}}/size" && [ "$size" -ge $(({disk_gib} * 2097152)) ] &&
    resize2fs "$root"
}}
until on && disk; do n=$((n + 1)); [ $n -lt 60 ] || exit 1; sleep 0.5; done
"""
"""A shell script for a guest, as root: put to use what it has got, which comes a moment after the hypervisor says that it is there."""
USE_SECONDS = 45.0


def use(vcpus: int, disk_gib: int) -> str:
    """`disk_gib` 0: its root file system is none of ours, and grows as its image does it, at its next start."""
    return USE.format(vcpus=vcpus, disk_gib=disk_gib)
