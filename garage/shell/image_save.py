"""From a machine's disk to a stored image of its own: copied, its identity taken off, laid flat, kept like those that people bring."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from garage.core import image_files
from garage.shell.disk_files import SHA256, checked
from garage.shell.disk_sources import Source
from garage.shell.images import KEPT_SCHEMA, Manifest, keep, load, sha256_of
from garage.shell.overlays import flattened, taken, with_fine_layer
from garage.shell.stripping import stripped, tool_of
from garage.shell.workplace import Told, store_disk, with_room, workplace

KEPT = ("vmlinuz", "initrd.img", KEPT_SCHEMA)


@dataclass(frozen=True, slots=True)
class SaveOrder:
    """Of what to make an image."""

    id: str
    name: str
    disk: Source
    """An overlay on `image` that nobody writes."""
    image: str
    """The sha256 of the image below it."""
    still: Callable[[], None]
    """Asked when the disk has been copied: raises where somebody may have written meanwhile."""


def save_image(order: SaveOrder, *, home: Path, told: Told, reserve: int) -> Manifest:
    """Raises a GarageError that says what is wrong with the disk or the server. Nothing is left behind but the image, which needs neither
    the machine nor the image below. `reserve`: bytes of disk that stay free."""
    store = home / "images"
    base = store / checked(SHA256, order.image)
    with workplace(home / "work" / f"save-{order.id}") as place:
        told = with_room(place, reserve, told)
        overlay = taken(order.disk, base / "disk.qcow2", place, reserve, image_files.MOST_SAVED_GIB, told)
        order.still()
        overlay = with_fine_layer(overlay, place)
        stripped(overlay, tool_of(store, order.image), place, told)
        disk = flattened(overlay, place, reserve, told)
        return _store(order, disk, overlay.size, base, store, place, told)


def _store(order: SaveOrder, disk: Path, size: int, base: Path, store: Path, place: Path, told: Told) -> Manifest:
    """It boots as the image below did: by that one's kernel, or by the loader on its disk; what its cloud-init takes is known."""
    out = place / "image"
    made = store_disk(disk, out, order.id, told)
    for name in KEPT:
        if (base / name).exists():
            shutil.copyfile(base / name, out / name)
    manifest = replace(
        load(base), name=order.name, title=order.name, recipe="", sha256=sha256_of(made), virtual_bytes=size,
        built_at=time.time(), bytes=made.stat().st_size, source_sha256="",
    )  # fmt: skip
    (out / "manifest.json").write_text(json.dumps(manifest.as_dict(), indent=1))
    keep(out, store, manifest)
    return manifest
