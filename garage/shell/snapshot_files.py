"""The files of a node's snapshots, `snapshots/MACHINE/SNAPSHOT.qcow2` below GARAGE_HOME, on this server. They lie apart
from the machine's own folder, which goes when it is rebuilt. How they are copied: `copies`."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from garage.errors import GarageError
from garage.shell.copies import copied, draft_of, kept, remove_drafts
from garage.shell.disk_files import MACHINE_ID, SHA256, checked, translated, virtual_size
from garage.shell.run import run

MODE = 0o600
"""Of a snapshot: what is on a machine's disk is nobody else's."""
DISK_MODE = 0o644
"""As qemu-img makes a disk; libvirt gives it to QEMU's user."""


class LocalSnapshots:
    """`core.hypervisor_types.SnapshotFiles` on this server."""

    def __init__(self, home: Path) -> None:
        self._home, self._machines, self._images = home / "snapshots", home / "machines", home / "images"

    def size(self, machine_id: str, snapshot: str) -> int | None:
        try:
            found = self.path(machine_id, snapshot).stat()
        except FileNotFoundError:
            return None
        return found.st_blocks * 512

    def copy(self, machine_id: str, snapshot: str) -> None:
        self._copied(self._disk(machine_id), self.path(machine_id, snapshot), MODE)

    def draft(self, machine_id: str, snapshot: str, image_sha256: str) -> Path:
        target = self.path(machine_id, snapshot)
        draft, image = draft_of(target), self._images / checked(SHA256, image_sha256) / "disk.qcow2"
        try:
            size = virtual_size(self._disk(machine_id))
            self._make_folders(target.parent)
            remove_drafts(target)
            run(
                ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(image), str(draft), str(size)],
                timeout=60.0,
            )
        except (OSError, GarageError) as error:
            raise translated(error, draft) from None
        return draft

    def keep(self, machine_id: str, snapshot: str) -> None:
        kept(self.path(machine_id, snapshot), MODE)

    def restore(self, machine_id: str, snapshot: str) -> None:
        self._copied(self.path(machine_id, snapshot), self._disk(machine_id), DISK_MODE)

    def _copied(self, source: Path, target: Path, mode: int) -> None:
        try:
            self._make_folders(target.parent)
        except OSError as error:
            raise translated(error, target) from None
        copied(source, target, mode)

    def remove(self, machine_id: str, snapshot: str) -> None:
        target = self.path(machine_id, snapshot)
        remove_drafts(target)
        target.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # others are in it
            target.parent.rmdir()

    def remove_all(self, machine_id: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._home / checked(MACHINE_ID, machine_id))

    def path(self, machine_id: str, snapshot: str) -> Path:
        return self._home / checked(MACHINE_ID, machine_id) / f"{checked(MACHINE_ID, snapshot)}.qcow2"

    def _disk(self, machine_id: str) -> Path:
        return self._machines / checked(MACHINE_ID, machine_id) / "disk.qcow2"

    @staticmethod
    def _make_folders(folder: Path) -> None:
        folder.parent.mkdir(mode=0o711, exist_ok=True)
        folder.mkdir(mode=0o711, exist_ok=True)
