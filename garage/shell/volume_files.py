"""The files of a node's volumes, `volumes/ID/disk.raw` below GARAGE_HOME, on this server: sparse, and as large as the guest sees them."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from garage.errors import GarageError
from garage.shell.disk_files import MACHINE_ID, checked, sync, translated

MODE = 0o600
"""What is on a volume is nobody else's; libvirt gives the file to QEMU's user for as long as a guest has it."""


class LocalVolumes:
    """`core.hypervisor_types.VolumeFiles` on this server."""

    def __init__(self, home: Path) -> None:
        self._home = home / "volumes"

    def make(self, volume: str, size_gib: int) -> None:
        path = self.path(volume)
        try:
            path.parent.parent.mkdir(mode=0o711, exist_ok=True)
            path.parent.mkdir(mode=0o711, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, MODE))
            _at_least(path, size_gib)
            sync(path.parent)
        except OSError as error:
            raise translated(error, path) from None

    def grow(self, volume: str, size_gib: int) -> None:
        path = self.path(volume)
        try:
            _at_least(path, size_gib)
        except (OSError, GarageError) as error:
            raise translated(error, path) from None

    def remove(self, volume: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.path(volume).parent)

    def path(self, volume: str) -> Path:
        return self._home / checked(MACHINE_ID, volume) / "disk.raw"


def _at_least(path: Path, size_gib: int) -> None:
    if path.stat().st_size < size_gib << 30:
        os.truncate(path, size_gib << 30)
    sync(path)
