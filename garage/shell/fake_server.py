"""A simulated node: its guests, what is on its disks, and how it is reached; several processes may share it by a file (`fake_store`)."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from garage.core.hypervisor_types import Domain, Listener, Power, Reason, Shape
from garage.errors import N_, GarageError
from garage.shell.fake_settings import Faults, Settings
from garage.shell.fake_store import Store

OFF = Domain(Power.OFF)


@dataclass(slots=True)
class Guest:
    domain: Domain = OFF
    started_at: float = 0.0
    console: bytes = b""
    stops_at: float | None = None
    memory_mib: int = 0
    vcpus: int = 1
    most: tuple[int, int] = (0, 0)
    """vCPUs and MiB that its definition leaves room for."""
    grown: tuple[int, int] = (0, 0)
    """vCPUs and MiB that it got while it is on; 0: none."""
    files: dict[str, bytes] = field(default_factory=dict)
    frozen: bool = False
    disk_limit: tuple[int, int] = (0, 0)
    """(operations, 10⁶ bytes) per second of the guest that runs, or will."""
    defined: tuple[str, ...] = ()
    """Volumes of its definition."""
    volumes: tuple[str, ...] = ()
    """Those that it has while it is on."""


class FakeServer:
    """What is there, and what happens to it by itself; `fake_hypervisor` does what it is asked for. Safe to share between threads."""

    def __init__(self, settings: Settings | None = None, *, path: Path | None = None) -> None:
        self.settings, self.faults = settings or Settings(), Faults()
        self.calls: list[tuple[str, str]] = []
        """(call, machine id) of everything that changed something, in order."""
        self._rng = random.Random(self.settings.seed)  # noqa: S311  (a simulation)
        self._store = Store(path) if path else None
        self._lock = threading.RLock()
        self._guests: dict[str, Guest] = {}
        self.files: dict[str, set[str]] = {}
        """Of `FakeDisks`: machine id → "disk", "seed"."""
        self.snapshots: dict[str, dict[str, str]] = {}
        """Of `FakeSnapshots`: machine id → snapshot → what the disk held."""
        self.contents: dict[str, str] = {}
        """Machine id → what its disk holds; tests write it as a guest does."""
        self.disk_sizes: dict[str, int] = {}
        """Machine id → GiB of its disk."""
        self.volumes: dict[str, dict[str, Any]] = {}
        """Of `FakeVolumes`: id → its "gib", "holds": what is on it, and "kept": what its snapshots hold."""
        self._listener: Listener = lambda _id: None

    def files_of(self, machine_id: str) -> frozenset[str]:
        """ "disk" and "seed", as far as they are there."""
        self._check()
        with self._lock:
            return frozenset(self.files.get(machine_id, ()))

    def listen(self, listener: Listener) -> None:
        self._listener = listener

    # --- what tests ask, and what happens by itself --------------------------------------------------------------

    def disk_limit(self, machine_id: str) -> tuple[int, int]:
        """(operations, 10⁶ bytes) per second that its guest is held to, for tests."""
        with self._lock:
            return self._guest(machine_id).disk_limit

    def volumes_of(self, machine_id: str) -> tuple[str, ...]:
        """What a guest that is on has; for tests."""
        with self._lock:
            guest = self._guests.get(machine_id)
            return guest.volumes if guest is not None and self._now(guest).active else ()

    def frozen(self, machine_id: str) -> bool:
        """Its file systems stand still; for tests."""
        with self._lock:
            return self._guests[machine_id].frozen

    def read_file(self, machine_id: str, path: str) -> bytes:
        """What the guest has there; for tests."""
        with self._lock:
            return self._guests[machine_id].files[path]

    def happen(self, machine_id: str, domain: Domain | None, console: bytes = b"") -> None:
        """The domain becomes this (None: its definition is gone), and whoever listens is told."""
        with self._lock:
            if domain is None:
                del self._guests[machine_id]
            else:
                guest = self._guests[machine_id]
                guest.domain, guest.console, guest.stops_at = domain, guest.console + console, None
            self._save()
        self._listener(machine_id)

    def reboot_node(self, boot_id: str) -> None:
        """Power failure: everything is off, and nobody knows why."""
        with self._lock:
            self.settings.boot_id = boot_id
            for guest in self._guests.values():
                guest.domain, guest.stops_at = OFF, None
            self._save()
        self._listener("")

    def answers_in(self, machine_id: str) -> float | None:
        """Seconds until its SSH would send a banner, 0 when it does; None while it is not even on its way."""
        with self._lock:
            if self._store:
                self._refresh(self._store)
            guest = self._guests.get(machine_id)
            if guest is None or self._now(guest).power is not Power.RUNNING or self.faults.mute:
                return None
            return max(0.0, self._boots_in(machine_id, guest))

    def answers(self, machine_id: str) -> bool:
        """Its SSH would send a banner now."""
        return self.answers_in(machine_id) == 0

    # --- guests: whoever asks holds the lock ---------------------------------------------------------------------

    def _boots_in(self, machine_id: str, guest: Guest) -> float:
        """Every process that looks at it says the same."""
        boot, spread = self.settings.boot, self.settings.spread
        if spread:
            rng = random.Random(f"{self.settings.seed}/{machine_id}")  # noqa: S311  (a simulation)
            boot *= rng.uniform(1 - spread, 1 + spread)
        return boot - (time.monotonic() - guest.started_at)

    def _shape(self, machine_id: str, guest: Guest) -> Shape:
        vcpus, memory = max(guest.vcpus, guest.grown[0]), max(guest.memory_mib, guest.grown[1])
        return Shape(vcpus, memory, self.disk_sizes.get(machine_id, 0))

    def _on(self, machine_id: str) -> Guest:
        """Caller holds the lock."""
        guest = self._guest(machine_id)
        if not self._now(guest).active:
            raise GarageError("hypervisor_error", N_("libvirt refused: {reason}"), reason="domain is not running")
        return guest

    def _check_memory(self, guest: Guest) -> None:
        """As QEMU finds none; caller holds the lock."""
        held = sum(max(other.memory_mib, other.grown[1]) for other in self._guests.values() if self._now(other).active)
        if held + guest.memory_mib > self.settings.memory_mib:
            reason = "cannot set up guest memory: Cannot allocate memory"
            raise GarageError("hypervisor_error", N_("libvirt refused: {reason}"), reason=reason)

    def _check_volume(self, volume_id: str) -> None:
        """As QEMU does, which locks what it opens; caller holds the lock."""
        used = any(volume_id in guest.volumes for guest in self._guests.values() if self._now(guest).active)
        if volume_id not in self.volumes or used:
            reason = 'Failed to get "write" lock' if used else f"Cannot access storage file {volume_id}"
            raise GarageError("hypervisor_error", N_("libvirt refused: {reason}"), reason=reason)

    # --- how it is reached ---------------------------------------------------------------------------------------

    def _drawn(self, seconds: float) -> float:
        spread = self.settings.spread
        return seconds * self._rng.uniform(1 - spread, 1 + spread) if spread else seconds

    def _sleep(self, seconds: float) -> None:
        if seconds:
            time.sleep(self._drawn(seconds))

    def _reach(self) -> None:
        """What every call goes through before anything is done."""
        self._sleep(self.settings.call)
        if self.settings.lost and self._rng.random() < self.settings.lost:
            raise GarageError("hypervisor_away", N_("libvirt does not answer: {reason}"), reason="simulated loss")
        self._check()

    def _now(self, guest: Guest) -> Domain:
        if guest.stops_at is not None and time.monotonic() >= guest.stops_at:
            guest.domain, guest.stops_at = Domain(Power.OFF, Reason.GUEST), None
        return guest.domain

    def _guest(self, machine_id: str) -> Guest:
        try:
            return self._guests[machine_id]
        except KeyError:
            raise GarageError("hypervisor_error", N_("libvirt refused: {reason}"), reason="no such domain") from None

    def _check(self) -> None:
        if self._store:
            with self._lock:
                self._refresh(self._store)
        if self.faults.away:
            raise GarageError("hypervisor_away", N_("libvirt does not answer: {reason}"), reason="simulated")

    @contextlib.contextmanager
    def _changing(self, call: str, machine_id: str, *, heard: bool = True) -> Iterator[None]:
        """`heard`: libvirt tells of it; of what its guest's agent does or a limit it does not."""
        self._reach()
        if self.settings.refused and self._rng.random() < self.settings.refused:
            raise GarageError(
                "hypervisor_error", N_("libvirt refused: {reason}"), reason=f"simulated refusal of {call}"
            )
        with self.changing():
            self.calls.append((call, machine_id))
            yield
        if heard:
            self._listener(machine_id)

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Domains and files are this thread's alone, also against other processes."""
        with self._lock, self._store.alone() if self._store else contextlib.nullcontext():
            self._check()
            yield
            self._save()

    def _save(self) -> None:
        if self._store:
            domains = {
                key: [guest.domain.power, guest.domain.reason, guest.started_at, guest.stops_at, guest.memory_mib]
                for key, guest in self._guests.items()
            }
            self._store.save({"domains": domains, "disks": {key: sorted(have) for key, have in self.files.items()},
                              "snapshots": self.snapshots, "contents": self.contents, "volumes": self.volumes,
                              "attached": {key: [guest.defined, guest.volumes] for key, guest in self._guests.items()},
                              "shapes": {key: [guest.vcpus, guest.most, guest.grown] for key, guest in self._guests.items()},
                              "disk_sizes": self.disk_sizes,
                              "frozen": [key for key, guest in self._guests.items() if guest.frozen]})  # fmt: skip

    def _refresh(self, store: Store) -> None:
        """Take in what other processes did. Their monotonic clock is this server's, as is ours."""
        if (faults := store.faults()) is not None:
            self.faults = Faults(**faults)
        if (news := store.news()) is None:
            return
        self.files = {key: set(have) for key, have in news.get("disks", {}).items()}
        self.snapshots, self.contents = news.get("snapshots", {}), news.get("contents", {})
        self.volumes, attached = news.get("volumes", {}), news.get("attached", {})
        self.disk_sizes, shapes = news.get("disk_sizes", {}), news.get("shapes", {})
        before, self._guests = self._guests, {}
        for key, (power, reason, started_at, stops_at, memory_mib) in news.get("domains", {}).items():
            guest = before.get(key) or Guest()
            guest.domain, guest.started_at, guest.stops_at = Domain(Power(power), Reason(reason)), started_at, stops_at
            guest.memory_mib, guest.frozen = memory_mib, key in news.get("frozen", ())
            guest.defined, guest.volumes = (tuple(ids) for ids in attached.get(key, ((), ())))
            guest.vcpus, most, grown = shapes.get(key, (1, (0, 0), (0, 0)))
            guest.most, guest.grown = tuple(most), tuple(grown)
            self._guests[key] = guest
