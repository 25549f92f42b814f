"""From a stranger's file to a stored image: compared with its sha256, looked at by us, converted in a sandbox, kept like those we build."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from garage.core import image_files, qcow2
from garage.core.outward import Guard
from garage.errors import N_, GarageError
from garage.shell.images import Manifest, keep, sha256_of
from garage.shell.outward_fetch import Bounds, fetch
from garage.shell.sandbox import NOBODY, limits_for, run_confined
from garage.shell.workplace import (
    MARGIN,
    Hashed,
    Told,
    check_made,
    check_room,
    copy_file,
    opened,
    store_disk,
    tell_made,
    with_room,
    workplace,
)


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
    with workplace(home / "work" / f"import-{order.id}") as place:
        told = with_room(place, reserve, told)
        source = place / "source"
        with source.open("xb") as file:
            digest = _bring(order, home, file, guard, told, most)
        if digest != order.sha256:
            raise _differs(digest)
        plain = _unpack(source, place, told, most)
        size = _looked_at(plain, order.format)
        check_room(place, plain.stat().st_size + reserve)
        disk = _convert(order, plain, place, size, told, most)
        return _store(order, disk, size, home / "images", place, told)


def upload_path(home: Path, task: str) -> Path:
    return home / "uploads" / task


# --- the file --------------------------------------------------------------------------------------------------------


def _bring(order: Order, home: Path, file: IO[bytes], guard: Guard, told: Told, most: int) -> str:
    """Its bytes into `file`; their sha256."""
    if order.url:
        hashed = Hashed(file)
        fetch(order.url, hashed, guard, Bounds(most), lambda done, total: told("fetch", done, total))  # type: ignore[arg-type]
        return hashed.digest.hexdigest()
    path = upload_path(home, order.id)
    with opened(path) as source:
        return copy_file(source, file, os.fstat(source.fileno()).st_size, told)


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
        limits = limits_for(most, file=most, memory=1 << 30)
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


# --- the image -------------------------------------------------------------------------------------------------------


def _convert(order: Order, plain: Path, place: Path, size: int, told: Told, most: int) -> Path:
    """A plain qcow2 file of our own; what QEMU makes of the stranger's is looked at like any other."""
    disk, total = place / "disk.qcow2", plain.stat().st_size
    if os.geteuid() == 0:
        os.chown(plain, NOBODY, NOBODY)
    argv = ["qemu-img", "convert", "-q", "-f", order.format, "-O", "qcow2", "-o", "compat=1.1", str(plain), str(disk)]
    limits = limits_for(max(size, total), file=most + MARGIN)
    run_confined(argv, place, limits, lambda: tell_made(disk, total, told))
    plain.unlink()
    check_made(disk, size)
    return disk


def _store(order: Order, disk: Path, size: int, store: Path, place: Path, told: Told) -> Manifest:
    out = place / "image"
    made = store_disk(disk, out, order.id, told)
    manifest = Manifest(
        name=order.name, title=order.name, suite="", recipe="", sha256=sha256_of(made), kernel_sha256="", initrd_sha256="",
        kernel_release="", cmdline="", virtual_bytes=size, built_at=time.time(), initrd="own", boot=order.boot,
        bytes=made.stat().st_size, source_sha256=order.sha256,
    )  # fmt: skip
    (out / "manifest.json").write_text(json.dumps(manifest.as_dict(), indent=1))
    keep(out, store, manifest)
    return manifest
