"""A machine's disk, an overlay on its image, as one file of its own: copied by us, read by QEMU in a sandbox alone.

What lies below it is said explicitly: the file that its header names is never looked at.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from garage.shell.disk_files import translated
from garage.shell.disk_sources import Source
from garage.shell.run import run
from garage.shell.sandbox import NOBODY, limits_for, run_confined
from garage.shell.workplace import MARGIN, Told, check_made, check_room, looked_at, size_of, tell_made

FINE = 4096
"""Bytes of a cluster of the layer on which is deleted: a block of the usual file systems."""
FINE_CACHE = 128 << 20
"""Bytes: of the places of all clusters of 64 GiB."""


@dataclass(frozen=True, slots=True)
class Overlay:
    """A copy that is nobody's: the machine may go on with its own."""

    path: Path
    image: Path
    """The disk below it, which has nothing below itself."""
    size: int
    """Bytes of the disk."""
    most_gib: int
    fine: Path | None = None
    """A layer above it, in which a file system's every block can be given back by itself."""

    def node(self) -> dict[str, Any]:
        """As QEMU's -blockdev has it."""
        below = {"driver": "qcow2", "read-only": True, "file": _file(self.image, writable=False), "backing": None}
        node = {"driver": "qcow2", "file": _file(self.path, writable=self.fine is None), "backing": below}
        if self.fine is None:
            return node
        cache = {"l2-cache-size": FINE_CACHE}
        return {"driver": "qcow2", "file": _file(self.fine), "backing": node | {"read-only": True}} | cache

    @property
    def layers(self) -> list[Path]:
        return [self.path] if self.fine is None else [self.path, self.fine]


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


def with_fine_layer(overlay: Overlay, place: Path) -> Overlay:
    """To delete on. In clusters of 64 KiB, as disks have, what is deleted beside something that stays would stay, too."""
    fine = place / "fine.qcow2"
    options = ["-o", f"compat=1.1,cluster_size={FINE}"]
    run(["qemu-img", "create", "-q", "-f", "qcow2", *options, str(fine), str(overlay.size)], timeout=60.0)
    if os.geteuid() == 0:
        os.chown(fine, NOBODY, NOBODY)
    return replace(overlay, fine=fine)


def flattened(overlay: Overlay, place: Path, reserve: int, told: Told) -> Path:
    """One plain file, without what has been deleted on the disk."""
    for layer in overlay.layers:  # a guest's QEMU may have had it
        looked_at(layer, most_gib=overlay.most_gib, overlay=True)
    disk, total = place / "disk.qcow2", sum(map(size_of, overlay.layers)) + size_of(overlay.image)
    check_room(place, total + reserve)
    argv = ["qemu-img", "convert", "-q", "-O", "qcow2", "-o", "compat=1.1"]
    argv += ["json:" + json.dumps(overlay.node()), str(disk)]
    limits = limits_for(max(overlay.size, total), file=overlay.size + MARGIN)
    run_confined(argv, place, limits, lambda: tell_made(disk, total, told))
    for layer in overlay.layers:
        layer.unlink()
    check_made(disk, overlay.size, most_gib=overlay.most_gib)
    return disk
