"""Where a stranger's file becomes an image: a folder of nobody's, what is read there, and the room that it takes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from garage.core import image_files, qcow2
from garage.errors import N_, GarageError
from garage.shell.disk_files import disk_is_full
from garage.shell.sandbox import NOBODY

CHUNK = 1 << 20
MARGIN = 1 << 30
"""Bytes by which a disk of ours may be larger than a stranger's."""
Told = Callable[[str, int, int], None]
"""(step, bytes so far, bytes in all or 0): a sign of life, and whoever has called it off raises here."""


@contextmanager
def workplace(place: Path) -> Iterator[Path]:
    """A folder of nobody's, who works in it; what an earlier attempt left is removed first."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o700, parents=True)
    try:
        if os.geteuid() == 0:
            os.chown(place, NOBODY, NOBODY)
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


class Hashed:
    """A file that knows the sha256 of what was written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._file.write(data)


def opened(path: Path) -> IO[bytes]:
    """The web process owns the folder, and may have been made to put anything there: only a plain file, of one name, is read."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise GarageError(
            "unavailable",
            N_("the uploaded file cannot be read: {reason}"),
            hint=N_("upload it again"),
            reason=error.strerror or "",
        ) from None
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        os.close(handle)
        raise GarageError("unavailable", N_("the uploaded file is no file"), hint=N_("upload it again"))
    return open(handle, "rb")


def copy_file(source: IO[bytes], file: IO[bytes], total: int, told: Told) -> str:
    hashed, done = Hashed(file), 0
    while data := source.read(CHUNK):
        hashed.write(data)
        done += len(data)
        told("check", done, total)
    return hashed.digest.hexdigest()


def with_room(place: Path, reserve: int, told: Told) -> Told:
    """Each sign of life is also a look at the disk: a file of a few bytes may unpack to one that fills it."""

    def tell(step: str, done: int, total: int) -> None:
        if shutil.disk_usage(place).free < reserve:
            raise disk_is_full()
        told(step, done, total)

    return tell


def check_room(place: Path, needed: int) -> None:
    """Before the longest step begins."""
    free = shutil.disk_usage(place).free
    if free < needed:
        raise GarageError(
            "disk_full",
            N_("the image needs {needed} GiB of disk; {free} GiB are free"),
            hint=N_("delete machines or images that nobody needs"),
            needed=round(needed / (1 << 30), 1),
            free=round(free / (1 << 30), 1),
        )


def size_of(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0


def tell_made(disk: Path, total: int, told: Told) -> None:
    """How large the converted file is by now; of a compressed source it becomes larger than that, and all of it counts."""
    made = size_of(disk)
    told("convert", made, max(made, total))


def looked_at(disk: Path, *, most_gib: int, overlay: bool = False) -> int:
    """Bytes of the disk in a qcow2 file; raises `image_refused`."""
    with opened(disk) as file:
        head, size = file.read(qcow2.HEAD), os.fstat(file.fileno()).st_size
    return qcow2.parse(head, size, most_gib=most_gib, overlay=overlay).virtual_bytes


def check_made(disk: Path, size: int, *, most_gib: int = image_files.MOST_GIB) -> None:
    """What QEMU made of a stranger's file is looked at like any other."""
    found = looked_at(disk, most_gib=most_gib)
    if found != size:
        raise GarageError(
            "image_refused", N_("the image's disk is not what its header says"), hint=qcow2.WHOLE, why="size"
        )


def store_disk(disk: Path, out: Path, task: str, told: Told) -> Path:
    """As it is kept it is nobody's to write. The task's id is added behind QEMU's part of the file, which QEMU never looks at: the same
    image of two people is two, so that neither learns of the other's, and each can go without the other."""
    out.mkdir(mode=0o755)
    with opened(disk) as source, (out / "disk.qcow2").open("xb") as target:
        copy_file(source, target, size_of(disk), told)
        target.write(f"garage image {task}\n".encode())
    return out / "disk.qcow2"
