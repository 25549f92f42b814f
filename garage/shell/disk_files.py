"""What all who write disks on a node share: ids as parts of paths, sizes, what goes to the disk for certain, errors."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from garage.errors import N_, GarageError

MACHINE_ID = re.compile(r"[0-9a-f]{20}")
SHA256 = re.compile(r"[0-9a-f]{64}")


def not_here(image_sha256: str) -> GarageError:
    return GarageError(
        "unavailable",
        N_("the image {image} is not on this node"),
        hint=N_("build it again: “make up” does"),
        image=image_sha256[:12],
    )


def virtual_size(image: Path) -> int:
    """Bytes that a guest sees of a qcow2 image: offset 24 of its header, big endian (QEMU's docs/interop/qcow2.txt)."""
    with image.open("rb") as file:
        header = file.read(32)
    if header[:4] != b"QFI\xfb" or len(header) < 32:
        raise GarageError("tool_failed", N_("{path} is not a qcow2 image"), path=str(image))
    return int.from_bytes(header[24:32], "big")


def checked(pattern: re.Pattern[str], text: str) -> str:
    """`text` as part of a path."""
    if pattern.fullmatch(text):
        return text
    raise ValueError(f"not an id: {text[:80]!r}")


def sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def translated(error: OSError | GarageError, path: Path) -> GarageError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT) if isinstance(error, OSError) else _says_full(error)
    if full:
        return disk_is_full()
    if isinstance(error, GarageError):
        return error
    return GarageError("tool_failed", N_("{path} cannot be written: {reason}"), path=str(path), reason=str(error))


def disk_is_full() -> GarageError:
    return GarageError(
        "disk_full",
        N_("the node has no disk space left"),
        hint=N_("delete machines or images that nobody needs"),
    )


def _says_full(error: GarageError) -> bool:
    return "No space left on device" in str(error.params.get("reason", ""))
