"""Files that people bring as images: what their first bytes say, and how large they may be. Pure."""

from __future__ import annotations

import re

from garage.core import qcow2
from garage.errors import N_, GarageError

MOST_GIB = 32
"""Of a file as it comes, and of the disk within it."""
MOST_SAVED_GIB = 64
"""Of a machine's disk of which an image is made: as much as a recipe may say."""
FORMATS = ("qcow2", "raw")
BOOTS = ("bios", "uefi")
VISIBILITIES = ("own", "project", "all")
SHA256 = re.compile(r"[0-9a-f]{64}")
NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,62}[a-z0-9])?")
PACKED: dict[bytes, str] = {b"\x1f\x8b\x08": "gzip", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
"""How a compressed file begins, and the program that opens it."""
OTHERS: dict[bytes, str] = {
    qcow2.MAGIC: "qcow2", b"QED\0": "qed", b"KDMV": "vmdk", b"COWD": "vmdk", b"# Disk DescriptorFile": "vmdk", b"vhdxfile": "vhdx",
    b"conectix": "vhd", b"<<< ": "vdi", b"PK\x03\x04": "zip", b"7z\xbc\xaf": "7z", b"BZh": "bzip2", b"<!DOCTYPE": "html", b"<html": "html",
    b"\x7fELF": "elf",
}  # fmt: skip
"""What somebody may take for a raw disk, and is none."""


def packing(head: bytes) -> str:
    """The program that opens it; "" when it is not compressed."""
    return next((tool for magic, tool in PACKED.items() if head.startswith(magic)), "")


def virtual_bytes(kind: str, head: bytes, file_bytes: int) -> int:
    """Bytes of the disk in a file of format `kind` that begins with `head`; raises `image_refused` for what no tool shall open."""
    if kind == "qcow2":
        return qcow2.parse(head, file_bytes, most_gib=MOST_GIB).virtual_bytes
    if other := next((name for magic, name in OTHERS.items() if head.startswith(magic)), ""):
        raise GarageError(
            "image_refused",
            N_("this is no raw disk but {value}"),
            hint=N_("qcow2 and raw disks are taken, also as .gz, .xz or .zst; convert others with qemu-img"),
            why="not_raw",
            value=other,
        )
    if file_bytes % qcow2.SECTOR or not qcow2.SECTOR <= file_bytes <= MOST_GIB << 30:
        raise qcow2.refused("size", file_bytes, limit=MOST_GIB)
    return file_bytes


def check_name(name: str) -> str:
    if NAME.fullmatch(name):
        return name
    raise GarageError(
        "invalid_field",
        N_("an image's name has 1 to 64 lower-case letters, digits, dots and hyphens"),
        hint=N_("e.g. {example}"),
        pointer="/name",
        example="ubuntu-24.04",
    )


def check_sha256(text: str) -> str:
    if SHA256.fullmatch(lower := text.lower()):
        return lower
    raise GarageError(
        "invalid_field",
        N_("a sha256 has 64 hexadecimal digits"),
        hint=N_(
            "its publisher lists it beside the image, often in a file SHA256SUMS; of your own file: sha256sum FILE"
        ),
        pointer="/sha256",
    )


def check_kind(disk: str, boot: str) -> None:
    for field, value, known in (("format", disk, FORMATS), ("boot", boot, BOOTS)):
        if value not in known:
            raise GarageError(
                "invalid_field",
                N_("{field} is one of {allowed}"),
                hint=N_("qcow2 and raw disks are taken, also as .gz, .xz or .zst; convert others with qemu-img"),
                pointer=f"/{field}",
                field=field,
                allowed=", ".join(known),
            )


def check_size(file_bytes: int) -> int:
    if 0 < file_bytes <= MOST_GIB << 30:
        return file_bytes
    raise GarageError(
        "invalid_field",
        N_("an image's file has 1 byte to {limit} GiB"),
        hint=N_("bring a smaller one, or one with its empty parts left out (qcow2)"),
        pointer="/bytes",
        limit=MOST_GIB,
    )
