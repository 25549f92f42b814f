"""A machine's disk, an overlay on its image, as one file of its own: copied by us, read by QEMU in a sandbox alone.

What lies below it is said explicitly: the file that its header names is never looked at.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from garage.shell.disk_files import translated
from garage.shell.disk_sources import Source
from garage.shell.sandbox import NOBODY, Limits, run_confined
from garage.shell.workplace import MARGIN, Told, check_made, check_room, looked_at, size_of


@dataclass(frozen=True, slots=True)
class Overlay:
    """A copy that is nobody's: the machine may go on with its own."""

    path: Path
    image: Path
    """The disk below it, which has nothing below itself."""
    size: int
    """Bytes of the disk."""
    most_gib: int

    def node(self) -> dict[str, Any]:
        """As QEMU's -blockdev has it."""
        below = {"driver": "qcow2", "read-only": True, "file": _file(self.image, writable=False), "backing": None}
        return {"driver": "qcow2", "file": _file(self.path), "backing": below}


def _file(path: Path, *, writable: bool = True) -> dict[str, Any]:
    return {"driver": "file", "filename": str(path), "read-only": not writable}


def taken(source: Source, image: Path, place: Path, reserve: int, most_gib: int, told: Told) -> Overlay:
    """A copy in `place`, looked at before any tool opens it. A copy, since nobody may read a machine's own."""
    copy = place / "overlay.qcow2"
    try:
        source(copy, max(0, shutil.disk_usage(place).free - reserve), told)
    except OSError as error:
        raise translated(error, copy) from None
    if os.geteuid() == 0:
        os.chown(copy, NOBODY, NOBODY)
    copy.chmod(0o600)
    return Overlay(copy, image, looked_at(copy, most_gib=most_gib, overlay=True), most_gib)


def flattened(overlay: Overlay, place: Path, reserve: int, told: Told) -> Path:
    """One plain file, without what has been deleted on the disk."""
    looked_at(overlay.path, most_gib=overlay.most_gib, overlay=True)  # a guest's QEMU may have had it
    disk, total = place / "disk.qcow2", size_of(overlay.path) + size_of(overlay.image)
    check_room(place, total + reserve)
    argv = ["qemu-img", "convert", "-q", "-O", "qcow2", "-o", "compat=1.1"]
    argv += ["json:" + json.dumps(overlay.node()), str(disk)]
    run_confined(
        argv, place, Limits(file=overlay.size + MARGIN), lambda: told("convert", min(size_of(disk), total), total)
    )
    overlay.path.unlink()
    check_made(disk, overlay.size, most_gib=overlay.most_gib)
    return disk
