"""What a hypervisor is to the worker: the values it reports and takes, and the small interface that real and fake ones keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from garage.core.domain_xml import DomainSpec, VolumeDisk
from garage.core.types import NodeAccess


class Power(StrEnum):
    """What a domain does at this moment."""

    RUNNING = "running"
    PAUSED = "paused"
    OFF = "off"
    CRASHED = "crashed"
    """The guest panicked; its memory may still be there."""


class Reason(StrEnum):
    """Why it does so, as far as decisions depend on it."""

    GUEST = "guest"
    """Off: the guest shut itself down (also when it was asked to)."""
    CRASH = "crash"
    """Off: the guest panicked or its QEMU died."""
    FULL = "full"
    """Paused: a write found no space on the node."""
    OTHER = "other"
    """Somebody on the node, a restart of the node or of libvirt; nothing that the guest decided."""


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain as observed."""

    power: Power
    reason: Reason = Reason.OTHER

    @property
    def active(self) -> bool:
        """Its QEMU exists: memory is held."""
        return self.power is not Power.OFF

    @property
    def crashed(self) -> bool:
        """The guest panicked, or its QEMU died under it."""
        return self.power is Power.CRASHED or (self.power is Power.OFF and self.reason is Reason.CRASH)


@dataclass(frozen=True, slots=True)
class HostFacts:
    """The node as its hypervisor sees it. Memory in MiB."""

    vcpus: int
    memory_mib: int
    virtualisation: str
    """ "kvm" where it really works, else "tcg"."""
    boot_id: str
    """Another one after each boot of the node; empty when it cannot be known."""
    memory_available_mib: int | None = None
    """Free, or a cache that can be given up at once, which machines that wait in a pool are, too."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How large a guest is."""

    vcpus: int
    memory_mib: int
    disk_gib: int


Unless = Callable[[], bool]
Listener = Callable[[str], None]
"""Called with the id of a machine whose domain changed, or "" when the connection itself did; from a foreign thread."""


class Hypervisor(Protocol):
    """One node's domains of one instance; others are never listed nor touched.

    Every call ends within its deadline. All raise `hypervisor_away` when the node does not answer and `hypervisor_error`
    when it refused; all that change something are idempotent: done already is fine.
    """

    def facts(self) -> HostFacts: ...

    def observe(self) -> dict[str, Domain]:
        """All domains, by machine id."""

    def look(self, machine_id: str) -> Domain | None:
        """One domain, None when it is not defined."""

    def define(self, spec: DomainSpec) -> None: ...

    def start(self, machine_id: str, *, paused: bool = False) -> None:
        """`paused`: its QEMU is there and holds its disks, and the guest does not run."""

    def resume(self, machine_id: str) -> None:
        """Let a paused guest go on."""

    def suspend(self, machine_id: str) -> None:
        """Pause a running guest: it keeps its memory and takes no CPU."""

    def shutdown(self, machine_id: str) -> None:
        """Ask the guest to shut down; returns at once, also when the guest will not hear."""

    def destroy(self, machine_id: str) -> None: ...

    def undefine(self, machine_id: str) -> None: ...

    def limit_disk(self, machine_id: str, iops: int, megabytes: int) -> None:
        """What the disk of a machine that is on may do from now on, in operations and 10⁶ bytes per second; 0: anything. Its definition
        stays as it is."""

    def write_file(self, machine_id: str, path: str, data: bytes) -> None:
        """Replace a file in the running guest, by its agent; the folder must be there."""

    def execute(
        self, machine_id: str, script: str, data: bytes = b"", *, wait: float = 0.0, unless: Unless = lambda: False
    ) -> bool:
        """Have the guest's agent run a shell script (as root) with `data` as its standard input. Waits up to `wait` seconds for its end:
        True when it ended with 0. With 0 seconds it is only begun: True. As soon as `unless()` it is waited for no more: False."""

    def migrate(self, spec: DomainSpec, to: NodeAccess, told: Callable[[int], None]) -> float:
        """Move the guest `spec.machine_id`, which runs or is paused, to the node `to`, where its image, an overlay disk, its seed and
        its kernel are in place at the paths of `spec`, which is the domain as that node shall have it. `told` gets percent, 0-100,
        from this thread. Returns the guest's pause in ms; the domain is then defined there, running or paused as it was, and gone
        here. An error leaves it as it was here."""

    def cancel_migration(self, machine_id: str) -> None:
        """End a migration of it away from here that an earlier process may have begun; when this returns, none is under way. It may
        have been at its end: look where the domain is."""

    def copy_disk(
        self, machine_id: str, target: Path, image: Path, *, frozen: bool, told: Callable[[int], None]
    ) -> None:
        """Write the disk of a guest that runs, as it is at one moment, into `target`, an empty overlay of the disk's size on the same
        `image`. `frozen`: in that moment, and not longer, its file systems stand still; `unavailable` where they cannot be made to.
        `told` gets percent, 0-100, from this thread, and may raise to call it off; at 100 the moment has come."""

    def copy_volume(
        self, machine_id: str, volume_id: str, target: Path, *, frozen: bool, told: Callable[[int], None]
    ) -> None:
        """Likewise of a volume that it has, into `target`, an empty file of the volume's size."""

    def end_copy(self, machine_id: str) -> None:
        """End a copy of one of its disks that an earlier process may have begun, and thaw what that may have frozen."""

    def attach_volume(self, machine_id: str, volume: VolumeDisk) -> None:
        """Give a guest that runs one more disk; the domain's definition is not changed, since every start makes it anew."""

    def detach_volume(self, machine_id: str, volume_id: str) -> bool:
        """Ask a guest that runs to let go of a disk, and wait a moment; whether it has none such any more."""

    def resize_volume(self, machine_id: str, volume_id: str, size_gib: int) -> None:
        """The disk of a guest that runs has at least this size from now on, its file too. It does not shrink."""

    def shape(self, machine_id: str) -> Shape:
        """What a guest that runs has at this moment, whatever its definition says."""

    def grow(self, machine_id: str, to: Shape) -> None:
        """A guest that runs has at least this from now on: vCPUs, then memory, then its disk, as far as none is refused. Nothing shrinks.
        It may pause for a moment; one that died in that moment left it paused. `hypervisor_error` where its definition left no room,
        `unavailable` where it has none now; its guest is not told."""

    def console(self, machine_id: str) -> bytes:
        """The last bytes of the serial console, at most `core.console.MAX_BYTES`; hostile input."""

    def forget_console(self, machine_id: str) -> None: ...

    def listen(self, listener: Listener) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """Of the file system where machines live, in bytes."""

    free: int
    total: int


class SnapshotFiles(Protocol):
    """A node's files of snapshots, each of a machine. `disk_full` when there is no room, `tool_failed` otherwise."""

    def size(self, machine_id: str, snapshot: str) -> int | None:
        """Bytes that it takes; None where it is not there, whole."""

    def copy(self, machine_id: str, snapshot: str) -> None:
        """Make it of the disk of a machine that is off."""

    def draft(self, machine_id: str, snapshot: str, image_sha256: str) -> Path:
        """An empty overlay, for `Hypervisor.copy_disk` to fill."""

    def keep(self, machine_id: str, snapshot: str) -> None:
        """The draft is whole: it is the snapshot now."""

    def restore(self, machine_id: str, snapshot: str) -> None:
        """A copy of it takes the place of the disk, of a machine that is off."""

    def remove(self, machine_id: str, snapshot: str) -> None: ...

    def remove_all(self, machine_id: str) -> None: ...


class VolumeFiles(Protocol):
    """A node's files of volumes and of their snapshots. `disk_full` when there is no room, `tool_failed` otherwise."""

    def make(self, volume: str, size_gib: int) -> None:
        """An empty one; one that is there keeps what it holds, and has at least this size from now on."""

    def grow(self, volume: str, size_gib: int) -> None:
        """Of one that no guest has; it does not shrink. `tool_failed` where it is not there."""

    def remove(self, volume: str) -> None:
        """Its snapshots, too."""

    def kept(self, volume: str, snapshot: str) -> int | None:
        """Bytes that a snapshot takes; None where it is not there, whole."""

    def copy(self, volume: str, snapshot: str) -> None:
        """Make a snapshot of one that no guest has."""

    def draft(self, volume: str, snapshot: str) -> Path:
        """An empty file of the volume's size, for `Hypervisor.copy_volume` to fill."""

    def keep(self, volume: str, snapshot: str) -> None:
        """The draft is whole: it is the snapshot now."""

    def restore(self, volume: str, snapshot: str, size_gib: int) -> None:
        """A copy of the snapshot, of at least this size, takes the place of a volume that no guest has."""

    def forget(self, volume: str, snapshot: str) -> None:
        """The snapshot's file goes."""

    def path(self, volume: str) -> Path: ...


class Disks(Protocol):
    """A node's per-machine files, and those of volumes. `disk_full` when there is no room, `tool_failed` otherwise."""

    @property
    def snapshots(self) -> SnapshotFiles: ...

    @property
    def volumes(self) -> VolumeFiles: ...

    def present(self, machine_id: str) -> tuple[bool, bool]:
        """(disk, seed): each there and complete."""

    def make_disk(self, machine_id: str, image_sha256: str, size_gib: int) -> None: ...

    def grow_disk(self, machine_id: str, size_gib: int) -> None:
        """What the guest sees has at least `size_gib` from now on; of a machine that is off. `tool_failed` where it has no disk."""

    def write_seed(self, machine_id: str, files: dict[str, bytes]) -> None: ...

    def copy_kernel(self, machine_id: str, image_sha256: str) -> tuple[Path, Path | None]:
        """(kernel, initrd or None) that the machine boots: copies of its own, made anew. libvirt gives what a domain names to QEMU's
        user; were that the image's, who breaks out of one QEMU could change what every machine boots."""

    def remove(self, machine_id: str) -> None: ...

    def space(self) -> DiskSpace: ...

    def disk_path(self, machine_id: str) -> Path: ...

    def seed_path(self, machine_id: str) -> Path: ...

    def image_path(self, image_sha256: str) -> Path:
        """The folder of an image."""


@dataclass(frozen=True, slots=True)
class ImageOrder:
    """What a node needs to know of an image to copy it."""

    image: str
    """sha256 of its disk."""
    files: Mapping[str, str]
    """sha256 by name."""
    manifest: Mapping[str, Any]
    most: int
    """Bytes that no file may exceed."""
    rate: int = 0
    """Bytes per second; 0: as fast as it goes."""


class Images(Protocol):
    """A node's images."""

    def present(self) -> frozenset[str]:
        """sha256 of those that are whole."""

    def remove(self, image: str) -> None:
        """One that nobody uses; harmless when it is not there any more."""


@runtime_checkable
class CopiedImages(Images, Protocol):
    """Of a node that has none of its own."""

    def fetch(self, order: ImageOrder, source: NodeAccess, told: Callable[[int, int], None]) -> None:
        """Copy one from `source`; what an earlier attempt left is gone on with. It is there when it is verified, whole. `told` gets (bytes,
        of bytes). `network_error` when the source does not answer, `tool_failed` when it gave something else, `in_use`, `disk_full`."""


class Prober(Protocol):
    """Looks for the SSH banner of machines that boot."""

    def set_targets(self, targets: dict[str, str]) -> None:
        """Probe exactly these: key → IPv4 address. A key answers once."""

    def answered(self) -> frozenset[str]:
        """The keys among the targets whose banner came."""

    def close(self) -> None: ...
