"""A machine's disk as one file that its people take along: copied, laid flat, put where the web process reads it."""

from __future__ import annotations

import contextlib
import grp
import os
import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from garage.shell.disk_files import SHA256, checked, sync
from garage.shell.disk_sources import Source
from garage.shell.overlays import flattened, taken
from garage.shell.workplace import Told, copy_file, opened, size_of, with_room, workplace

MOST_GIB = 4096
"""Of a disk that is taken along."""
GROUP = "garage"
"""Of the web process; where there is none (tests), everything stays the caller's."""


@dataclass(frozen=True, slots=True)
class ExportOrder:
    """Of what to make a file."""

    id: str
    disk: Source
    image: str
    """The sha256 of the image below it."""
    still: Callable[[], None]
    """Asked when the disk has been copied: raises where somebody may have written meanwhile."""


def export_disk(order: ExportOrder, *, home: Path, folder: Path, told: Told, reserve: int) -> tuple[int, str]:
    """`folder`/ID.qcow2; its bytes and sha256. Raises a GarageError; nothing else is left behind."""
    image = home / "images" / checked(SHA256, order.image) / "disk.qcow2"
    with workplace(home / "work" / f"disk-{order.id}") as place:
        told = with_room(place, reserve, told)
        overlay = taken(order.disk, image, place, reserve, MOST_GIB, told)
        order.still()
        disk = flattened(overlay, place, reserve, told)
        return size_of(disk), _kept(disk, folder, order.id, told)


def _kept(disk: Path, folder: Path, name: str, told: Told) -> str:
    """A new file, which nobody has open for writing; its sha256."""
    folder.mkdir(mode=0o750, exist_ok=True)
    _give(folder, 0o750)
    draft = folder / f".{name}.part"
    draft.unlink(missing_ok=True)
    try:
        with opened(disk) as source, draft.open("xb") as target:
            digest = copy_file(source, target, size_of(disk), told)
        _give(draft, 0o640)
        sync(draft)
        draft.rename(disk_at(folder, name))
    finally:
        draft.unlink(missing_ok=True)
    return digest


def _give(path: Path, mode: int) -> None:
    path.chmod(mode)
    with contextlib.suppress(KeyError, PermissionError):
        shutil.chown(path, group=grp.getgrnam(GROUP).gr_gid if os.geteuid() == 0 else os.getgid())


def forget_others(folder: Path, kept: Callable[[], Collection[str]]) -> None:
    """Remove all files but those of the ids that are `kept`, also what is begun of others. That is asked after the look: another worker
    may begin a new one."""
    found = list(folder.iterdir()) if folder.is_dir() else []
    ids = kept()
    for path in found:
        if path.name.lstrip(".").partition(".")[0] not in ids:
            path.unlink(missing_ok=True)


def disk_at(folder: Path, task: str) -> Path:
    return folder / f"{task}.qcow2"
