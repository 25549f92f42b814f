"""What a simulated hypervisor has around it: disks, and guests that answer on port 22."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from garage.core.hypervisor_types import DiskSpace
from garage.errors import N_, GarageError
from garage.shell.fake_hypervisor import FakeHypervisor
from garage.shell.fake_time import TICKER

GIB = 1 << 30


@dataclass(slots=True)
class FakeSnapshots:
    """`SnapshotFiles` that exist in memory only: what a disk holds is `FakeHypervisor.contents`."""

    hypervisor: FakeHypervisor

    def size(self, machine_id: str, snapshot: str) -> int | None:
        self.hypervisor.files_of(machine_id)
        return GIB + 1 if snapshot in self.hypervisor.snapshots.get(machine_id, ()) else None

    def copy(self, machine_id: str, snapshot: str) -> None:
        self._check(machine_id)
        with self._doing("snapshot", machine_id) as kept:
            kept[snapshot] = self.hypervisor.contents.get(machine_id, "")

    def draft(self, machine_id: str, snapshot: str, image_sha256: str) -> Path:  # noqa: ARG002
        self._check(machine_id)
        return Path("/nonexistent", f"{snapshot}.part")

    def keep(self, machine_id: str, snapshot: str) -> None:
        with self._doing("keep", machine_id) as kept:
            if snapshot not in kept:
                kept[snapshot] = kept.pop(f"{snapshot}.part")

    def restore(self, machine_id: str, snapshot: str) -> None:
        if self.hypervisor.faults.disk_full:
            raise GarageError("disk_full", N_("the node has no disk space left"))
        with self._doing("restore", machine_id) as kept:
            if snapshot not in kept:
                raise GarageError("tool_failed", N_("{path} is not a qcow2 image"), path=snapshot)
            self.hypervisor.contents[machine_id] = kept[snapshot]
            self.hypervisor.files.setdefault(machine_id, set()).add("disk")

    def remove(self, machine_id: str, snapshot: str) -> None:
        with self._doing("remove snapshot", machine_id) as kept:
            kept.pop(snapshot, None)
            kept.pop(f"{snapshot}.part", None)

    def remove_all(self, machine_id: str) -> None:
        with self._doing("remove snapshots", machine_id):
            self.hypervisor.snapshots.pop(machine_id, None)

    def _check(self, machine_id: str) -> None:
        if self.hypervisor.faults.disk_full:
            raise GarageError("disk_full", N_("the node has no disk space left"))
        if "disk" not in self.hypervisor.files_of(machine_id):
            raise GarageError("tool_failed", N_("{path} is not a qcow2 image"), path=machine_id)

    @contextlib.contextmanager
    def _doing(self, what: str, machine_id: str) -> Iterator[dict[str, str]]:
        with self.hypervisor.changing():
            self.hypervisor.calls.append((what, machine_id))
            yield self.hypervisor.snapshots.setdefault(machine_id, {})


@dataclass(slots=True)
class FakeVolumes:
    """`VolumeFiles` that exist in memory only; what a volume holds is written by tests, as a guest does."""

    hypervisor: FakeHypervisor

    def make(self, volume: str, size_gib: int) -> None:
        self._sized("volume", volume, size_gib)

    def grow(self, volume: str, size_gib: int) -> None:
        self._there(volume)
        self._sized("grow volume", volume, size_gib)

    def _sized(self, what: str, volume: str, size_gib: int) -> None:
        self._check_room()
        with self.hypervisor.changing():
            self.hypervisor.calls.append((what, volume))
            found = self.hypervisor.volumes.setdefault(volume, {"gib": 0, "holds": "", "kept": {}})
            found["gib"] = max(found["gib"], size_gib)

    def kept(self, volume: str, snapshot: str) -> int | None:
        """Always one byte more than a GiB."""
        self.hypervisor.files_of(volume)
        return GIB + 1 if snapshot in self.hypervisor.volumes.get(volume, {}).get("kept", {}) else None

    def copy(self, volume: str, snapshot: str) -> None:
        self._check_room()
        with self._doing("copy volume", volume) as found:
            found["kept"][snapshot] = found["holds"]

    def draft(self, volume: str, snapshot: str) -> Path:
        self._check_room()
        self._there(volume)
        return Path("/nonexistent", f"{snapshot}.part")

    def keep(self, volume: str, snapshot: str) -> None:
        with self._doing("keep volume", volume) as found:
            if snapshot not in found["kept"]:
                found["kept"][snapshot] = found["kept"].pop(f"{snapshot}.part")

    def restore(self, volume: str, snapshot: str, size_gib: int) -> None:
        self._check_room()
        with self._doing("restore volume", volume) as found:
            self._there(snapshot, found["kept"])
            found["holds"], found["gib"] = found["kept"][snapshot], size_gib

    def forget(self, volume: str, snapshot: str) -> None:
        with self._doing("forget", volume) as found:
            found["kept"].pop(snapshot, None)
            found["kept"].pop(f"{snapshot}.part", None)

    @contextlib.contextmanager
    def _doing(self, what: str, volume: str) -> Iterator[dict[str, Any]]:
        with self.hypervisor.changing():
            self._there(volume)
            self.hypervisor.calls.append((what, volume))
            yield self.hypervisor.volumes[volume]

    def _there(self, what: str, among: Mapping[str, Any] | None = None) -> None:
        if what not in (self.hypervisor.volumes if among is None else among):
            raise GarageError("tool_failed", N_("{path} cannot be written: {reason}"), path=what, reason="not there")

    def _check_room(self) -> None:
        if self.hypervisor.faults.disk_full:
            raise GarageError("disk_full", N_("the node has no disk space left"))

    def remove(self, volume: str) -> None:
        with self.hypervisor.changing():
            self.hypervisor.calls.append(("remove volume", volume))
            self.hypervisor.volumes.pop(volume, None)

    def path(self, volume: str) -> Path:
        return Path("/nonexistent", volume, "disk.raw")


@dataclass(slots=True)
class FakeDisks:
    """`Disks` that exist in memory only."""

    hypervisor: FakeHypervisor
    home: Path = Path("/nonexistent")

    @property
    def snapshots(self) -> FakeSnapshots:
        return FakeSnapshots(self.hypervisor)

    @property
    def volumes(self) -> FakeVolumes:
        return FakeVolumes(self.hypervisor)

    def present(self, machine_id: str) -> tuple[bool, bool]:
        have = self.hypervisor.files_of(machine_id)
        return "disk" in have, "seed" in have

    def make_disk(self, machine_id: str, image_sha256: str, size_gib: int) -> None:  # noqa: ARG002
        self._make(machine_id, "disk")
        self._sized(machine_id, size_gib)

    def grow_disk(self, machine_id: str, size_gib: int) -> None:
        if "disk" not in self.hypervisor.files_of(machine_id):
            raise GarageError("tool_failed", N_("{path} is not a qcow2 image"), path=machine_id)
        with self.hypervisor.changing():
            self.hypervisor.calls.append(("grow", machine_id))
        self._sized(machine_id, size_gib)

    def _sized(self, machine_id: str, size_gib: int) -> None:
        with self.hypervisor.changing():
            sizes = self.hypervisor.disk_sizes
            sizes[machine_id] = max(size_gib, sizes.get(machine_id, 0))

    def write_seed(self, machine_id: str, files: dict[str, bytes]) -> None:  # noqa: ARG002
        self._make(machine_id, "seed")

    def _make(self, machine_id: str, what: str) -> None:
        if self.hypervisor.faults.disk_full:
            raise GarageError("disk_full", N_("the node has no disk space left"))
        with self.hypervisor.changing():
            self.hypervisor.calls.append((what, machine_id))
            self.hypervisor.files.setdefault(machine_id, set()).add(what)

    def copy_kernel(self, machine_id: str, image_sha256: str) -> tuple[Path, Path | None]:  # noqa: ARG002
        return self.home / machine_id / "vmlinuz", self.home / machine_id / "initrd.img"

    def remove(self, machine_id: str) -> None:
        with self.hypervisor.changing():
            self.hypervisor.calls.append(("remove", machine_id))
            self.hypervisor.files.pop(machine_id, None)
            self.hypervisor.contents.pop(machine_id, None)
            self.hypervisor.disk_sizes.pop(machine_id, None)

    def space(self) -> DiskSpace:
        total = self.hypervisor.settings.disk_gib * GIB
        return DiskSpace(0 if self.hypervisor.faults.disk_full else total - len(self.hypervisor.files) * GIB, total)

    def disk_path(self, machine_id: str) -> Path:
        return self.home / machine_id / "disk.qcow2"

    def seed_path(self, machine_id: str) -> Path:
        return self.home / machine_id / "seed.iso"

    def image_path(self, image_sha256: str) -> Path:
        return self.home / image_sha256


class FakeProber:
    """`Prober` that asks the fake hypervisor instead of the network; keys begin with the machine's id."""

    INTERVAL = 0.05

    def __init__(self, hypervisor: FakeHypervisor, notify: Callable[[], None]) -> None:
        self._hypervisor, self._notify = hypervisor, notify
        self._lock = threading.Lock()
        self._targets: frozenset[str] = frozenset()
        self._answered: frozenset[str] = frozenset()
        self._round, self._closed = 0, False

    def set_targets(self, targets: dict[str, str]) -> None:
        with self._lock:
            new = targets.keys() - self._targets
            self._targets = frozenset(targets)
            self._answered &= self._targets
        if new:
            self._ask_in(0.0)

    def answered(self) -> frozenset[str]:
        return self._answered

    def close(self) -> None:
        self._closed = True

    def _ask_in(self, seconds: float) -> None:
        """Instead of what was to come until now."""
        with self._lock:
            self._round += 1
            number = self._round
        TICKER.after(seconds, lambda: self._ask(number))

    def _ask(self, number: int) -> None:
        """Those that have not answered; again when the next of them will, or in a while."""
        if number != self._round or self._closed:
            return
        waits = {key: self._hypervisor.answers_in(key.split("/")[0]) for key in self._targets - self._answered}
        new = {key for key, wait in waits.items() if wait == 0}
        with self._lock:
            self._answered |= new & self._targets
        if new:
            self._notify()
        if later := [self.INTERVAL if wait is None else wait for wait in waits.values() if wait != 0]:
            self._ask_in(min(later))
