"""What a stranger's qcow2 file says of itself: read by us, strictly, before any tool opens it. Pure.

The format is QEMU's docs/interop/qcow2.txt; numbers are big endian. Only what a disk image needs is let through: what makes QEMU open
another file, ask for a secret or reserve much memory is refused, and so is what is not known here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from garage.errors import N_, GarageError

MAGIC = b"QFI\xfb"
HEAD = 64 << 10
"""Bytes from a file's beginning that `parse` wants to see (all of them where there are fewer)."""
SECTOR = 512
V2_LENGTH, V3_LENGTHS = 72, (104, 112)
L1_MOST, REFCOUNTS_MOST = 32 << 20, 8 << 20
"""Bytes of the two tables that QEMU itself takes."""
DIRTY, CORRUPT, DATA_FILE, COMPRESSION, EXTENDED_L2 = (1 << bit for bit in range(5))
COMPRESSIONS = {0: "zlib", 1: "zstd"}

REMAKE = N_("make a plain one of it, and import that: qemu-img convert -O qcow2 OLD NEW")
REPAIR = N_("on your own computer: qemu-img check -r all FILE, then convert it")
WHOLE = N_("fetch it again, and compare its sha256 with its publisher's")
REFUSALS: dict[str, tuple[str, str]] = {
    "not_qcow2": (N_("this is no qcow2 image"), N_("say what it is: --format raw")),
    "truncated": (N_("the qcow2 image is cut off"), WHOLE),
    "version": (N_("version {value} of qcow2 is not known"), REMAKE),
    "backing_file": (N_("the qcow2 image needs another file beneath it"), REMAKE),
    "data_file": (N_("the qcow2 image keeps its data in another file"), REMAKE),
    "encrypted": (N_("the qcow2 image is encrypted"), REMAKE),
    "features": (N_("the qcow2 image needs features that are not known: {value}"), REMAKE),
    "dirty": (N_("the qcow2 image was not closed properly"), REPAIR),
    "corrupt": (N_("the qcow2 image says that it is damaged"), REPAIR),
    "snapshots": (N_("the qcow2 image holds {value} snapshots"), REMAKE),
    "bitmaps": (N_("the qcow2 image holds bitmaps of backups"), REMAKE),
    "size": (N_("the disk in the image would have {value} bytes"), N_("an image may have 512 bytes to {limit} GiB")),
    "clusters": (N_("the qcow2 image has clusters of 2^{value} bytes"), REMAKE),
    "header": (N_("the qcow2 image's header has {value} bytes"), REMAKE),
    "extension": (N_("an extension of the qcow2 image's header reaches beyond it"), REMAKE),
    "l1_table": (N_("the qcow2 image's table of clusters is not plausible: {value}"), REMAKE),
    "refcounts": (N_("the qcow2 image's table of references is not plausible: {value}"), REMAKE),
    "compression": (N_("the qcow2 image's compression is not known: {value}"), REMAKE),
}
"""Why an image is refused, and what helps; the key is the error's `why`."""
_EXTENSIONS = {
    0xE2792ACA: "backing_file",
    0x44415441: "data_file",
    0x0537BE77: "encrypted",
    0x23852875: "bitmaps",
}


@dataclass(frozen=True, slots=True)
class Header:
    """Of an image that may be converted."""

    version: int
    virtual_bytes: int
    cluster_bits: int
    compression: str


@dataclass(frozen=True, slots=True)
class _Raw:
    """The fields as they stand, in the order of the format; those of version 3 have version 2's meaning there."""

    version: int
    backing_offset: int
    backing_length: int
    cluster_bits: int
    size: int
    crypt: int
    l1_entries: int
    l1_offset: int
    refcounts_offset: int
    refcounts_clusters: int
    snapshots: int
    snapshots_offset: int
    incompatible: int = 0
    compatible: int = 0
    autoclear: int = 0
    refcount_order: int = 4
    length: int = V2_LENGTH
    compression: int = 0

    @property
    def cluster(self) -> int:
        return 1 << self.cluster_bits


def parse(head: bytes, file_bytes: int, *, most_gib: int, overlay: bool = False) -> Header:
    """The header of a file of `file_bytes` bytes that begins with `head`; raises `image_refused`, never anything else.

    `most_gib`: GiB that the disk within may have. `overlay`: it lies on another, as a machine's disk does; whoever opens it has to say on
    which, since what the header names is not to be believed.
    """
    raw = _read(head)
    _features(raw, overlay)
    _shape(raw, most_gib)
    _l1_table(raw, file_bytes)
    _refcounts(raw, file_bytes)
    for kind in _extensions(raw, head):
        if (why := _EXTENSIONS.get(kind)) and not (overlay and why == "backing_file"):
            raise refused(why)
    return Header(raw.version, raw.size, raw.cluster_bits, COMPRESSIONS[raw.compression])


def refused(why: str, value: object = "", **params: Any) -> GarageError:
    text, hint = REFUSALS[why]
    return GarageError("image_refused", text, hint=hint, why=why, value=str(value)[:80], **params)


def _read(head: bytes) -> _Raw:
    if head[:4] != MAGIC:
        raise refused("not_qcow2")
    if len(head) < V2_LENGTH:
        raise refused("truncated")
    fields = struct.unpack_from(">IQIIQIIQQIIQ", head, 4)
    if fields[0] == 2:
        return _Raw(*fields)
    if fields[0] != 3:
        raise refused("version", fields[0])
    if len(head) < V3_LENGTHS[0]:
        raise refused("truncated")
    more = struct.unpack_from(">QQQII", head, V2_LENGTH)
    if more[-1] not in V3_LENGTHS:
        raise refused("header", more[-1])
    if len(head) < more[-1]:
        raise refused("truncated")
    every: list[int] = [*fields, *more, _compression(head) if more[-1] > V3_LENGTHS[0] else 0]
    return _Raw(*every)


def _compression(head: bytes) -> int:
    kind, *padding = head[104:112]
    if any(padding):
        raise refused("header", "104 + ?")
    return kind


def _features(raw: _Raw, overlay: bool) -> None:
    """What would make QEMU look elsewhere, or what it would have to know."""
    known = DIRTY | CORRUPT | DATA_FILE | COMPRESSION | EXTENDED_L2
    found = {
        "backing_file": bool(raw.backing_offset or raw.backing_length) and not overlay,
        "encrypted": raw.crypt,
        "data_file": raw.incompatible & DATA_FILE,
        "corrupt": raw.incompatible & CORRUPT,
        "dirty": raw.incompatible & DIRTY,
    }
    if why := next((why for why, there in found.items() if there), ""):
        raise refused(why)
    if unknown := raw.incompatible & ~known:
        raise refused("features", f"{unknown:#x}")
    if raw.snapshots or raw.snapshots_offset:
        raise refused("snapshots", raw.snapshots)
    if raw.compression not in COMPRESSIONS or bool(raw.compression) != bool(raw.incompatible & COMPRESSION):
        raise refused("compression", raw.compression)


def _shape(raw: _Raw, most_gib: int) -> None:
    least = 14 if raw.incompatible & EXTENDED_L2 else 9
    if not least <= raw.cluster_bits <= 21:
        raise refused("clusters", raw.cluster_bits)
    if not SECTOR <= raw.size <= most_gib << 30 or raw.size % SECTOR:
        raise refused("size", raw.size, limit=most_gib)


def _l1_table(raw: _Raw, file_bytes: int) -> None:
    """It must be there whole, describe the whole disk, and not be larger than QEMU takes."""
    per_entry = raw.cluster * raw.cluster // (16 if raw.incompatible & EXTENDED_L2 else 8)
    length = raw.l1_entries * 8
    if raw.l1_entries < -(-raw.size // per_entry) or length > L1_MOST:
        raise refused("l1_table", raw.l1_entries)
    _inside("l1_table", raw, raw.l1_offset, length, file_bytes)


def _refcounts(raw: _Raw, file_bytes: int) -> None:
    length = raw.refcounts_clusters * raw.cluster
    if not raw.refcounts_clusters or length > REFCOUNTS_MOST or raw.refcount_order > 6:
        raise refused("refcounts", f"{raw.refcounts_clusters}, {raw.refcount_order}")
    _inside("refcounts", raw, raw.refcounts_offset, length, file_bytes)


def _inside(why: str, raw: _Raw, offset: int, length: int, file_bytes: int) -> None:
    """A table begins at a cluster of its own behind the header. A file that ends before it does is cut off."""
    if offset % raw.cluster or offset < raw.cluster:
        raise refused(why, f"{offset:#x}")
    if offset + length > file_bytes:
        raise refused("truncated")


def _extensions(raw: _Raw, head: bytes) -> Iterator[int]:
    """The types of the header's extensions. They end with type 0 and stay within the first cluster."""
    place, end = raw.length, min(raw.cluster, len(head))
    while place + 8 <= end:
        kind, length = struct.unpack_from(">II", head, place)
        if kind == 0:
            return
        if length > end - place - 8:
            raise refused("extension")
        yield kind
        place += 8 + (length + 7) // 8 * 8
    if raw.cluster > len(head):
        raise refused("extension")
