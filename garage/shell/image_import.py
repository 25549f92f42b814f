"""From a stranger's file to a stored image: compared with its sha256, looked at by us, converted in a sandbox, kept like those we build."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from garage.core import image_files, qcow2
from garage.core.outward import Guard
from garage.errors import N_, GarageError
from garage.shell.disk_files import disk_is_full
from garage.shell.images import Manifest, keep, sha256_of
from garage.shell.outward_fetch import Bounds, fetch
from garage.shell.sandbox import NOBODY, Limits, run_confined

CHUNK = 1 << 20
MARGIN = 1 << 30
"""Bytes by which a disk of ours may be larger than a stranger's."""
Told = Callable[[str, int, int], None]
"""(step, bytes so far, bytes in all or 0): a sign of life, and whoever has called it off raises here."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to make an image of."""

    id: str
    name: str
    url: str
    """Empty: of the file that was uploaded."""
    sha256: str
    format: str
    boot: str


def make_image(
    order: Order, *, home: Path, guard: Guard, told: Told, reserve: int, most: int = image_files.MOST_GIB << 30
) -> Manifest:
    """Raises a GarageError that says what is wrong with the file, its source or the server. Nothing is left behind but the image.
    `reserve`: bytes of disk that stay free whatever the file turns into, since machines on this server write, too."""
    with _workplace(home / "work" / f"import-{order.id}") as place:
        told = _with_room(place, reserve, told)
        source = place / "source"
        with source.open("xb") as file:
            digest = _bring(order, home, file, guard, told, most)
        if digest != order.sha256:
            raise _differs(digest)
        plain = _unpack(source, place, told, most)
        size = _looked_at(plain, order.format)
        _check_room(place, plain.stat().st_size + reserve)
        disk = _convert(order, plain, place, size, told, most)
        return _store(order, disk, size, home / "images", place, told)


@contextmanager
def _workplace(place: Path) -> Iterator[Path]:
    """A folder of nobody's, who works in it; what an earlier attempt left is removed first."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o700, parents=True)
    try:
        if os.geteuid() == 0:
            os.chown(place, NOBODY, NOBODY)
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def upload_path(home: Path, task: str) -> Path:
    return home / "uploads" / task


# --- the file --------------------------------------------------------------------------------------------------------


def _bring(order: Order, home: Path, file: IO[bytes], guard: Guard, told: Told, most: int) -> str:
    """Its bytes into `file`; their sha256."""
    if order.url:
        hashed = _Hashed(file)
        fetch(order.url, hashed, guard, Bounds(most), lambda done, total: told("fetch", done, total))  # type: ignore[arg-type]
        return hashed.digest.hexdigest()
    path = upload_path(home, order.id)
    with _opened(path) as source:
        return _copy(source, file, os.fstat(source.fileno()).st_size, told)


class _Hashed:
    """A file that knows the sha256 of what was written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._file.write(data)


def _opened(path: Path) -> IO[bytes]:
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


def _copy(source: IO[bytes], file: IO[bytes], total: int, told: Told) -> str:
    hashed, done = _Hashed(file), 0
    while data := source.read(CHUNK):
        hashed.write(data)
        done += len(data)
        told("check", done, total)
    return hashed.digest.hexdigest()


def _differs(digest: str) -> GarageError:
    return GarageError(
        "image_refused",
        N_("the file's sha256 is {found}, another than the one that was given"),
        hint=N_("compare it with its publisher's list; the file may have been replaced by a newer one"),
        why="sha256",
        found=digest,
    )


def _unpack(source: Path, place: Path, told: Told, most: int) -> Path:
    """The file without its compression."""
    tool = image_files.packing(_head(source))
    if not tool:
        return source
    plain, total = place / "plain", source.stat().st_size
    with source.open("rb") as stdin, plain.open("xb") as stdout:
        limits = Limits(memory=1 << 30, file=most)
        extra = {"xz": ["--memlimit-decompress=512MiB"], "zstd": ["--memory=512MB", "--no-progress"]}.get(tool, [])
        argv = [tool, "-dc", *extra]
        run_confined(
            argv, place, limits, lambda: told("unpack", _place_of(stdin, total), total), stdin=stdin, stdout=stdout
        )
    source.unlink()
    return plain


def _place_of(file: IO[bytes], total: int) -> int:
    """How far another process has read a file that we opened: they share its offset."""
    return min(total, os.lseek(file.fileno(), 0, os.SEEK_CUR))


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(qcow2.HEAD)


def _looked_at(plain: Path, kind: str) -> int:
    """Bytes of the disk within; raises `image_refused` before any tool opens it."""
    return image_files.virtual_bytes(kind, _head(plain), plain.stat().st_size)


def _with_room(place: Path, reserve: int, told: Told) -> Told:
    """Each sign of life is also a look at the disk: a file of a few bytes may unpack to one that fills it."""

    def tell(step: str, done: int, total: int) -> None:
        if shutil.disk_usage(place).free < reserve:
            raise disk_is_full()
        told(step, done, total)

    return tell


def _check_room(place: Path, needed: int) -> None:
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


# --- the image -------------------------------------------------------------------------------------------------------


def _convert(order: Order, plain: Path, place: Path, size: int, told: Told, most: int) -> Path:
    """A plain qcow2 file of our own; what QEMU makes of the stranger's is looked at like any other."""
    disk, total = place / "disk.qcow2", plain.stat().st_size
    if os.geteuid() == 0:
        os.chown(plain, NOBODY, NOBODY)
    argv = ["qemu-img", "convert", "-q", "-f", order.format, "-O", "qcow2", "-o", "compat=1.1", str(plain), str(disk)]
    run_confined(argv, place, Limits(file=most + MARGIN), lambda: told("convert", min(_size(disk), total), total))
    plain.unlink()
    with _opened(disk) as file:
        found = qcow2.parse(file.read(qcow2.HEAD), os.fstat(file.fileno()).st_size, most_gib=image_files.MOST_GIB)
    if found.virtual_bytes != size:
        raise GarageError(
            "image_refused", N_("the image's disk is not what its header says"), hint=qcow2.WHOLE, why="size"
        )
    return disk


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0


def _store(order: Order, disk: Path, size: int, store: Path, place: Path, told: Told) -> Manifest:
    """As it is kept it is nobody's to write. The task's id is added behind QEMU's part of the file, which QEMU never looks at: the same
    image of two people is two, so that neither learns of the other's, and each can go without the other."""
    out = place / "image"
    out.mkdir(mode=0o755)
    with _opened(disk) as source, (out / "disk.qcow2").open("xb") as target:
        _copy(source, target, _size(disk), told)
        target.write(f"garage image {order.id}\n".encode())
    made = out / "disk.qcow2"
    manifest = Manifest(
        name=order.name, title=order.name, suite="", recipe="", sha256=sha256_of(made), kernel_sha256="", initrd_sha256="",
        kernel_release="", cmdline="", virtual_bytes=size, built_at=time.time(), initrd="own", boot=order.boot,
        bytes=made.stat().st_size, source_sha256=order.sha256,
    )  # fmt: skip
    (out / "manifest.json").write_text(json.dumps(manifest.as_dict(), indent=1))
    keep(out, store, manifest)
    return manifest
