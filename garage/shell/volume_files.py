"""The files of a node's volumes, `volumes/ID/disk.raw` below GARAGE_HOME, on this server: sparse, and as large as the guest sees them.

Snapshots lie beside it, `volumes/ID/SNAPSHOT.raw`: whole copies, which go with it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from garage.errors import GarageError
from garage.shell.copies import copied, draft_of, kept, remove_drafts
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

    def kept(self, volume: str, snapshot: str) -> int | None:
        try:
            return self.snapshot_path(volume, snapshot).stat().st_blocks * 512
        except FileNotFoundError:
            return None

    def copy(self, volume: str, snapshot: str) -> None:
        copied(self.path(volume), self.snapshot_path(volume, snapshot), MODE, sparse="always")

    def draft(self, volume: str, snapshot: str) -> Path:
        target = self.snapshot_path(volume, snapshot)
        draft = draft_of(target)
        try:
            size = self.path(volume).stat().st_size
            remove_drafts(target)
            os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, MODE))
            os.truncate(draft, size)
        except OSError as error:
            raise translated(error, draft) from None
        return draft

    def keep(self, volume: str, snapshot: str) -> None:
        kept(self.snapshot_path(volume, snapshot), MODE)

    def restore(self, volume: str, snapshot: str, size_gib: int) -> None:
        source, target = self.snapshot_path(volume, snapshot), self.path(volume)
        copied(source, target, MODE, sparse="always", at_least=size_gib << 30)

    def forget(self, volume: str, snapshot: str) -> None:
        target = self.snapshot_path(volume, snapshot)
        remove_drafts(target)
        target.unlink(missing_ok=True)

    def path(self, volume: str) -> Path:
        return self._home / checked(MACHINE_ID, volume) / "disk.raw"

    def snapshot_path(self, volume: str, snapshot: str) -> Path:
        return snapshot_beside(self.path(volume), snapshot)


def snapshot_beside(path: Path, snapshot: str) -> Path:
    """Where a snapshot of the volume at `path` lies."""
    return path.with_name(f"{checked(MACHINE_ID, snapshot)}.raw")


def _at_least(path: Path, size_gib: int) -> None:
    if path.stat().st_size < size_gib << 30:
        os.truncate(path, size_gib << 30)
    sync(path)
