"""qcow2 files that nobody should open: each is a sound one with one thing changed. Made here, so that no such file has to be kept."""

from __future__ import annotations

import struct
from collections.abc import Callable

CLUSTER = 1 << 16
SOUND: dict[str, int] = {
    "magic": 0x514649FB, "version": 3, "backing_offset": 0, "backing_length": 0, "cluster_bits": 16, "size": 1 << 30, "crypt": 0,
    "l1_entries": 2, "l1_offset": 3 * CLUSTER, "refcounts_offset": CLUSTER, "refcounts_clusters": 1, "snapshots": 0,
    "snapshots_offset": 0, "incompatible": 0, "compatible": 0, "autoclear": 0, "refcount_order": 4, "header_length": 112, "compression": 0,
}  # fmt: skip
FORMAT = ">IIQIIQIIQQIIQQQQIIB7x"
BYTES = 4 * CLUSTER


def header(extensions: bytes = b"", **changed: int) -> bytes:
    return struct.pack(FORMAT, *(SOUND | changed).values()) + extensions + bytes(8)


def image(extensions: bytes = b"", length: int = BYTES, **changed: int) -> bytes:
    """A whole file; sound when nothing is changed, with an empty disk in it."""
    file = bytearray(BYTES)
    head = header(extensions, **changed)
    file[: len(head)] = head
    file[CLUSTER : CLUSTER + 8] = struct.pack(">Q", 2 * CLUSTER)
    file[2 * CLUSTER : 2 * CLUSTER + 8] = struct.pack(">4H", 1, 1, 1, 1)
    return bytes(file[:length])


def extension(kind: int, data: bytes, length: int | None = None) -> bytes:
    return struct.pack(">II", kind, len(data) if length is None else length) + data + bytes(-len(data) % 8)


def _named(path: bytes) -> bytes:
    """With a path at 512 in the first cluster."""
    file = bytearray(image(backing_offset=512, backing_length=len(path)))
    file[512 : 512 + len(path)] = path
    return bytes(file)


HOSTILE: dict[str, tuple[str, Callable[[], bytes]]] = {
    "empty": ("not_qcow2", lambda: b""),
    "text": ("not_qcow2", lambda: b"# Disk DescriptorFile\nversion=1\nRW 1 FLAT \"/etc/shadow\" 0\n"),
    "qed": ("not_qcow2", lambda: b"QED\0" + bytes(200)),
    "magic alone": ("truncated", lambda: b"QFI\xfb"),
    "cut in version 2's header": ("truncated", lambda: image(version=2, length=71)),
    "cut in version 3's header": ("truncated", lambda: image(length=103)),
    "cut in the compression": ("truncated", lambda: image(length=108)),
    "cut before the tables": ("truncated", lambda: image(length=CLUSTER)),
    "cut before the clusters' table": ("truncated", lambda: image(length=3 * CLUSTER)),
    "version 1": ("version", lambda: image(version=1)),
    "version 4": ("version", lambda: image(version=4)),
    "another file beneath": ("backing_file", lambda: _named(b"/etc/shadow")),
    "a network beneath": ("backing_file", lambda: _named(b"nbd://10.0.0.1/disk")),
    "json beneath": ("backing_file", lambda: _named(b'json:{"driver":"file","filename":"/dev/sda"}')),
    "a device beneath, in version 2": ("backing_file", lambda: image(version=2, backing_offset=80, backing_length=8)),
    "a name without a place": ("backing_file", lambda: image(backing_length=1023)),
    "a format beneath": ("backing_file", lambda: image(extension(0xE2792ACA, b"raw"))),
    "data elsewhere": ("data_file", lambda: image(incompatible=4)),
    "data elsewhere, named": ("data_file", lambda: image(extension(0x44415441, b"/etc/shadow"), incompatible=4)),
    "a name of data alone": ("data_file", lambda: image(extension(0x44415441, b"/dev/sda"))),
    "AES": ("encrypted", lambda: image(crypt=1)),
    "LUKS": ("encrypted", lambda: image(crypt=2)),
    "a cipher of tomorrow": ("encrypted", lambda: image(crypt=0xFFFFFFFF)),
    "a pointer to a cipher": ("encrypted", lambda: image(extension(0x0537BE77, bytes(16)))),
    "a feature of tomorrow": ("features", lambda: image(incompatible=1 << 5)),
    "all features": ("features", lambda: image(incompatible=(1 << 64) - 32)),
    "not closed": ("dirty", lambda: image(incompatible=1)),
    "damaged": ("corrupt", lambda: image(incompatible=2)),
    "zstd without saying so": ("compression", lambda: image(compression=1)),
    "saying so without zstd": ("compression", lambda: image(incompatible=8)),
    "a compression of tomorrow": ("compression", lambda: image(incompatible=8, compression=2)),
    "a giant": ("size", lambda: image(size=1 << 62)),
    "the largest number": ("size", lambda: image(size=(1 << 64) - 512)),
    "no disk": ("size", lambda: image(size=0)),
    "half a sector": ("size", lambda: image(size=(1 << 30) + 1)),
    "tiny clusters": ("clusters", lambda: image(cluster_bits=8)),
    "huge clusters": ("clusters", lambda: image(cluster_bits=63)),
    "no clusters": ("clusters", lambda: image(cluster_bits=0)),
    "tiny clusters of two halves": ("clusters", lambda: image(incompatible=16, cluster_bits=9)),
    "a header without end": ("header", lambda: image(header_length=0xFFFFFFF8)),
    "a header that is none": ("header", lambda: image(header_length=0)),
    "an odd header": ("header", lambda: image(header_length=105)),
    "an extension without end": ("extension", lambda: image(extension(0x6803F857, b"", 0xFFFFFFFF))),
    "an extension to the next cluster": ("extension", lambda: image(extension(0x6803F857, b"", CLUSTER))),
    "no table of clusters": ("l1_table", lambda: image(l1_entries=0)),
    "half a table of clusters": ("l1_table", lambda: image(l1_entries=1)),
    "4 billion entries": ("l1_table", lambda: image(l1_entries=0xFFFFFFFF)),
    "a table in the header": ("l1_table", lambda: image(l1_offset=0)),
    "a table between clusters": ("l1_table", lambda: image(l1_offset=3 * CLUSTER + 8)),
    "a table beyond the end": ("truncated", lambda: image(l1_offset=1 << 40)),
    "a table beyond all numbers": ("truncated", lambda: image(l1_offset=(1 << 64) - CLUSTER)),
    "no references": ("refcounts", lambda: image(refcounts_clusters=0)),
    "too many references": ("refcounts", lambda: image(refcounts_clusters=0xFFFFFFFF)),
    "references of 128 bits": ("refcounts", lambda: image(refcount_order=7)),
    "references in the header": ("refcounts", lambda: image(refcounts_offset=0)),
    "references beyond the end": ("truncated", lambda: image(refcounts_offset=1 << 50)),
    "a snapshot": ("snapshots", lambda: image(snapshots=1, snapshots_offset=3 * CLUSTER)),
    "4 billion snapshots": ("snapshots", lambda: image(snapshots=0xFFFFFFFF)),
    "bitmaps": ("bitmaps", lambda: image(extension(0x23852875, bytes(24)))),
}  # fmt: skip
"""Name → (why it is refused, the file)."""
