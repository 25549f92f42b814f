"""A node's per-machine files: an overlay on the image and a seed disk, each made under another name and renamed when complete."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from garage.core.hypervisor_types import DiskSpace
from garage.errors import GarageError
from garage.shell.disk_files import MACHINE_ID, SHA256, checked, not_here, sync, translated, virtual_size
from garage.shell.run import run
from garage.shell.snapshot_files import LocalSnapshots
from garage.shell.volume_files import LocalVolumes

BOOT = ("vmlinuz", "initrd.img")
QEMU_IMG_TIMEOUT = 60.0
SeedWriter = Callable[[Path, Mapping[str, bytes]], None]


class LocalDisks:
    """`core.hypervisor_types.Disks` on this server, below `home`."""

    def __init__(self, home: Path, write_seed: SeedWriter) -> None:
        self._machines = home / "machines"
        self._images = home / "images"
        self._home = home
        self._writer = write_seed
        self.snapshots, self.volumes = LocalSnapshots(home), LocalVolumes(home)

    def present(self, machine_id: str) -> tuple[bool, bool]:
        return self.disk_path(machine_id).exists(), self.seed_path(machine_id).exists()

    def make_disk(self, machine_id: str, image_sha256: str, size_gib: int) -> None:
        """An overlay of `size_gib`, or of the image's size where that is larger. One that is there stays: a worker that was stopped in the
        middle of this, and wakes up when another has long started the machine, must not put an empty disk in its place."""
        image = self.image_path(image_sha256) / "disk.qcow2"
        with self._making(self.disk_path(machine_id), replace=False) as path:
            if not image.exists():
                raise not_here(image_sha256)
            size = max(size_gib << 30, virtual_size(image))
            run(
                ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(image), str(path), str(size)],
                timeout=QEMU_IMG_TIMEOUT,
            )

    def grow_disk(self, machine_id: str, size_gib: int) -> None:
        """Of a disk that is large enough already nothing is changed."""
        path = self.disk_path(machine_id)
        try:
            if virtual_size(path) >= size_gib << 30:
                return
            run(["qemu-img", "resize", "-q", "-f", "qcow2", str(path), str(size_gib << 30)], timeout=QEMU_IMG_TIMEOUT)
            sync(path)
        except (OSError, GarageError) as error:
            raise translated(error, path) from None

    def write_seed(self, machine_id: str, files: dict[str, bytes]) -> None:
        with self._making(self.seed_path(machine_id)) as path:
            self._writer(path, files)
            path.chmod(0o600)

    def copy_kernel(self, machine_id: str, image_sha256: str) -> tuple[Path, Path | None]:
        made = [self._copy(self.image_path(image_sha256) / name, self._folder(machine_id) / name) for name in BOOT]
        if made[0] is None:
            raise not_here(image_sha256)
        return made[0], made[1]

    def _copy(self, source: Path, target: Path) -> Path | None:
        """A new file each time: what is there may be its QEMU's."""
        if not source.exists():
            return None
        with self._making(target, lasting=False) as path:
            shutil.copyfile(source, path)
            path.chmod(0o444)
        return target

    def remove(self, machine_id: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._folder(machine_id))

    def space(self) -> DiskSpace:
        usage = shutil.disk_usage(self._home)
        return DiskSpace(usage.free, usage.total)

    def disk_path(self, machine_id: str) -> Path:
        return self._folder(machine_id) / "disk.qcow2"

    def seed_path(self, machine_id: str) -> Path:
        return self._folder(machine_id) / "seed.iso"

    def image_path(self, image_sha256: str) -> Path:
        return self._images / checked(SHA256, image_sha256)

    def _folder(self, machine_id: str) -> Path:
        return self._machines / checked(MACHINE_ID, machine_id)

    @contextlib.contextmanager
    def _making(self, path: Path, *, lasting: bool = True, replace: bool = True) -> Iterator[Path]:
        """A name beside `path`; on success synced (if `lasting`) and renamed to it, on failure removed. ENOSPC becomes `disk_full`."""
        draft = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            _make_folder(path.parent)
            _remove_drafts(path)
            yield draft
            if lasting:
                sync(draft)
            if replace:
                draft.rename(path)
            else:
                with contextlib.suppress(FileExistsError):
                    path.hardlink_to(draft)
                draft.unlink()
            if lasting:
                sync(path.parent)
        except (OSError, GarageError) as error:
            draft.unlink(missing_ok=True)
            raise translated(error, path) from None


def _make_folder(path: Path) -> None:
    path.parent.mkdir(mode=0o711, exist_ok=True)
    path.mkdir(mode=0o711, exist_ok=True)


def _remove_drafts(path: Path) -> None:
    """What a worker that was killed left of its attempt, secrets among it."""
    for left in path.parent.glob(f"{path.name}.*.part"):
        left.unlink(missing_ok=True)
    for folder in path.parent.glob(".seed-*"):
        shutil.rmtree(folder, ignore_errors=True)
