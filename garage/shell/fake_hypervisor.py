"""A simulated hypervisor, with disks and guests that answer: for tests, and for fleets larger than the servers at hand.

It keeps the same contract as libvirt's (`tests/contract/test_hypervisor.py`). `fake://` takes settings as a query:
`fake:///var/tmp/fleet.json?boot=2&start=0.1&vcpus=64&memory_mib=262144`; with a
path its domains and disks outlive the process, and other processes see them (`fake_store`). What chance decides follows from `seed`.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from garage.core.domain_xml import DomainSpec, VolumeDisk
from garage.core.hypervisor_types import Domain, HostFacts, Listener, Power, Reason, Shape, Unless
from garage.core.snapshots import not_frozen
from garage.core.types import NodeAccess
from garage.errors import N_, GarageError
from garage.shell.fake_store import Store
from garage.shell.fake_time import TICKER

GIB = 1 << 30
OFF, RUNNING, PAUSED = Domain(Power.OFF), Domain(Power.RUNNING), Domain(Power.PAUSED)


@dataclass(slots=True)
class _Guest:
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


@dataclass(slots=True)
class Settings:
    """Latencies in seconds; sizes of the node that is simulated."""

    boot: float = 0.0
    """From start to SSH."""
    start: float = 0.0
    shutdown: float = 0.0
    """From asking to off."""
    vcpus: int = 8
    memory_mib: int = 16384
    disk_gib: int = 200
    migration: float = 0.0
    """For which a guest travels, before its pause."""
    boot_id: str = "fake-boot"
    call: float = 0.0
    """Of every call."""
    agent: float = 0.0
    """Of what a guest's agent does, besides."""
    spread: float = 0.0
    """Each latency is drawn evenly from this share below to this share above it, e.g. 0.5: between half and one and a half times."""
    lost: float = 0.0
    """The share of calls that get no answer."""
    refused: float = 0.0
    """The share of changing calls that are refused."""
    seed: int = 0


@dataclass(slots=True)
class Faults:
    """What goes wrong from now on; tests set these."""

    away: bool = False
    """Nothing answers."""
    disk_full: bool = False
    start_refused: str = ""
    deaf: bool = False
    """Guests ignore requests to shut down."""
    vcpus_refused: bool = False
    memory_refused: bool = False
    """No guest that runs gets any more of it."""
    keeps_volumes: bool = False
    """Guests do not let go of volumes."""
    agent_away: bool = False
    """Nothing can be written in guests."""
    mute: bool = False
    """Guests never open port 22."""
    migration_refused: str = ""
    """Why nothing moves away from here."""
    migration_outlives: bool = False
    """A migration goes on when who asked for it dies, as libvirt's do."""


_by_uri: weakref.WeakValueDictionary[str, FakeHypervisor] = weakref.WeakValueDictionary()
"""Those of this process that have an address: between them guests move."""
PAUSE_MS = 20.0
STEPS = 4


class FakeHypervisor:
    """`Hypervisor`, and by `disks()` and `prober()` the rest of a node's outside world. Safe to share between threads."""

    def __init__(self, settings: Settings | None = None, *, path: Path | None = None) -> None:
        self.settings, self.faults = settings or Settings(), Faults()
        self.calls: list[tuple[str, str]] = []
        """(call, machine id) of everything that changed something, in order."""
        self._rng = random.Random(self.settings.seed)  # noqa: S311  (a simulation)
        self._store = Store(path) if path else None
        self._lock = threading.RLock()
        self._guests: dict[str, _Guest] = {}
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

    @classmethod
    def from_uri(cls, uri: str) -> FakeHypervisor:
        parts = urlsplit(uri)
        given = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        settings = Settings()
        for key, value in given.items():
            try:
                setattr(settings, key, type(getattr(settings, key))(value))
            except (AttributeError, ValueError):
                raise GarageError(
                    "config", N_("{uri} has a setting that is not known: {error}"), uri=uri, error=key
                ) from None
        made = cls(settings, path=Path(parts.path) if parts.path.strip("/") else None)
        _by_uri[uri] = made
        return made

    # --- Hypervisor ----------------------------------------------------------------------------------------------

    def facts(self) -> HostFacts:
        self._reach()
        return HostFacts(self.settings.vcpus, self.settings.memory_mib, "tcg", self.settings.boot_id)

    def observe(self) -> dict[str, Domain]:
        self._reach()
        with self._lock:
            return {machine_id: self._now(guest) for machine_id, guest in self._guests.items()}

    def look(self, machine_id: str) -> Domain | None:
        self._reach()
        with self._lock:
            guest = self._guests.get(machine_id)
            return self._now(guest) if guest else None

    def define(self, spec: DomainSpec) -> None:
        with self._changing("define", spec.machine_id):
            guest = self._guests.setdefault(spec.machine_id, _Guest())
            guest.memory_mib, guest.vcpus = spec.memory_mib, spec.vcpus
            guest.most = (spec.most_vcpus, spec.most_memory_mib if spec.takes_memory else 0)
            if not self._now(guest).active:
                guest.disk_limit = (spec.disk_iops, spec.disk_mb)
            guest.defined = tuple(volume.id for volume in spec.volumes)

    def start(self, machine_id: str, *, paused: bool = False) -> None:
        self._sleep(self.settings.start)
        with self._changing("start", machine_id):
            guest = self._guest(machine_id)
            if self.faults.start_refused:
                raise GarageError("hypervisor_error", N_("libvirt refused: {reason}"), reason=self.faults.start_refused)
            if not self._now(guest).active:
                guest.grown = (0, 0)
                self._check_memory(guest)
                guest.volumes = ()
                for volume in guest.defined:
                    self._check_volume(volume)
                guest.volumes = guest.defined
                guest.domain, guest.started_at, guest.stops_at = PAUSED if paused else RUNNING, time.monotonic(), None
                guest.console = b"booting\r\n"

    def resume(self, machine_id: str) -> None:
        with self._changing("resume", machine_id):
            guest = self._guest(machine_id)
            if guest.domain.power is Power.PAUSED:
                guest.domain = RUNNING

    def suspend(self, machine_id: str) -> None:
        with self._changing("suspend", machine_id):
            guest = self._guest(machine_id)
            if self._now(guest).power is Power.RUNNING:
                guest.domain = PAUSED

    def shutdown(self, machine_id: str) -> None:
        with self._changing("shutdown", machine_id):
            guest = self._guest(machine_id)
            if guest.domain.active and not self.faults.deaf and guest.stops_at is None:
                seconds = self._drawn(self.settings.shutdown)
                guest.stops_at = time.monotonic() + seconds
                TICKER.after(seconds, lambda: self._listener(machine_id))

    def destroy(self, machine_id: str) -> None:
        with self._changing("destroy", machine_id):
            guest = self._guests.get(machine_id)
            if guest and self._now(guest).active:
                guest.domain = OFF

    def undefine(self, machine_id: str) -> None:
        with self._changing("undefine", machine_id):
            guest = self._guests.get(machine_id)
            if guest and not self._now(guest).active:
                del self._guests[machine_id]

    def limit_disk(self, machine_id: str, iops: int, megabytes: int) -> None:
        with self._changing("limit_disk", machine_id, heard=False):
            guest = self._guest(machine_id)
            if self._now(guest).active:
                guest.disk_limit = (iops, megabytes)

    def disk_limit(self, machine_id: str) -> tuple[int, int]:
        """(operations, 10⁶ bytes) per second that its guest is held to, for tests."""
        with self._lock:
            return self._guest(machine_id).disk_limit

    def write_file(self, machine_id: str, path: str, data: bytes) -> None:
        self._sleep(self.settings.agent)
        with self._changing("write_file", machine_id, heard=False):
            guest = self._guest(machine_id)
            if self.faults.agent_away or guest.domain.power is not Power.RUNNING:
                raise GarageError(
                    "hypervisor_error", N_("libvirt refused: {reason}"), reason="the agent is not connected"
                )
            guest.files[path] = data

    def execute(
        self, machine_id: str, script: str, data: bytes = b"", *, wait: float = 0.0, unless: Unless = lambda: False
    ) -> bool:
        """The guest remembers what it was told; a script that is waited for ends when the guest has booted."""
        self._sleep(self.settings.agent)
        with self._changing("execute", machine_id, heard=False):
            guest = self._guest(machine_id)
            if self.faults.agent_away or guest.domain.power is not Power.RUNNING:
                raise GarageError(
                    "hypervisor_error", N_("libvirt refused: {reason}"), reason="the agent is not connected"
                )
            guest.files[script] = data
            booted = self._boots_in(machine_id, guest) <= 0
        return not wait or (booted and not unless())

    def migrate(self, spec: DomainSpec, to: NodeAccess, told: Callable[[int], None]) -> float:
        self._reach()
        target = _by_uri.get(to.hypervisor)
        if target is None and urlsplit(to.hypervisor).path.strip("/"):
            target = FakeHypervisor.from_uri(to.hypervisor)  # another worker's, by its file
        if target is None or target is self or target.faults.away or self.faults.migration_refused:
            reason = self.faults.migration_refused or f"{to.name} does not answer"
            raise GarageError("hypervisor_error", N_("libvirt refused: {reason}"), reason=reason)
        try:
            for step in range(STEPS):
                told(step * 100 // STEPS)
                time.sleep(self.settings.migration / STEPS)
        except BaseException:
            if self.faults.migration_outlives:
                self._hand_over(spec.machine_id, target)
            raise
        self._hand_over(spec.machine_id, target)
        told(100)
        return PAUSE_MS

    def _hand_over(self, machine_id: str, target: FakeHypervisor) -> None:
        """Paused here, then at the other end, then gone here: at no moment does it run at both. Neither lock is held for the other."""
        with self._changing("migrate", machine_id):
            guest = self._guest(machine_id)
            if not self._now(guest).active:
                raise GarageError("hypervisor_error", N_("libvirt refused: {reason}"), reason="domain is not running")
            leaving, guest.domain = replace(guest), PAUSED
        target.receive(machine_id, leaving, self.files_of(machine_id))
        with self._changing("left", machine_id):
            self._guests.pop(machine_id, None)

    def cancel_migration(self, machine_id: str) -> None:  # noqa: ARG002
        """A simulated one ends with its process."""
        self._check()

    def receive(self, machine_id: str, guest: _Guest, disk: frozenset[str]) -> None:
        """A guest of another one arrives, with what is on its disk."""
        with self._changing("arrive", machine_id):
            self._guests[machine_id] = guest
            self.files.setdefault(machine_id, set()).update(disk)

    def copy_disk(
        self,
        machine_id: str,
        target: Path,
        image: Path,  # noqa: ARG002
        *,
        frozen: bool,
        told: Callable[[int], None],
    ) -> None:
        for step in range(STEPS):
            told(step * 100 // STEPS)
        try:
            self._stand_still(machine_id, frozen=frozen)
            told(100)
            with self._changing("copy", machine_id):
                self.snapshots.setdefault(machine_id, {})[target.name] = self.contents.get(machine_id, "")
        except Exception:
            self.end_copy(machine_id)
            raise
        self.end_copy(machine_id)

    def _stand_still(self, machine_id: str, *, frozen: bool) -> None:
        with self._changing("freeze" if frozen else "mirror", machine_id):
            guest = self._guest(machine_id)
            if guest.domain.power is not Power.RUNNING:
                raise GarageError("hypervisor_error", N_("libvirt refused: {reason}"), reason="domain is not running")
            if frozen and self.faults.agent_away:
                raise not_frozen("the agent is not connected")
            guest.frozen = frozen

    def end_copy(self, machine_id: str) -> None:
        self._reach()
        if (guest := self._guests.get(machine_id)) and guest.frozen:
            with self._changing("thaw", machine_id):
                self._guest(machine_id).frozen = False

    def attach_volume(self, machine_id: str, volume: VolumeDisk) -> None:
        with self._changing("attach", machine_id):
            guest = self._on(machine_id)
            if volume.id not in guest.volumes:
                self._check_volume(volume.id)
                guest.volumes = (*guest.volumes, volume.id)

    def detach_volume(self, machine_id: str, volume_id: str) -> bool:
        with self._changing("detach", machine_id):
            guest = self._on(machine_id)
            if not self.faults.keeps_volumes:
                guest.volumes = tuple(each for each in guest.volumes if each != volume_id)
            return volume_id not in guest.volumes

    def resize_volume(self, machine_id: str, volume_id: str, size_gib: int) -> None:
        with self._changing("resize", machine_id):
            if volume_id not in self._on(machine_id).volumes:
                raise GarageError("hypervisor_error", N_("libvirt refused: {reason}"), reason="no such disk")
            self.volumes[volume_id]["gib"] = max(size_gib, self.volumes[volume_id]["gib"])

    def shape(self, machine_id: str) -> Shape:
        self._reach()
        with self._lock:
            return self._shape(machine_id, self._on(machine_id))

    def _shape(self, machine_id: str, guest: _Guest) -> Shape:
        vcpus, memory = max(guest.vcpus, guest.grown[0]), max(guest.memory_mib, guest.grown[1])
        return Shape(vcpus, memory, self.disk_sizes.get(machine_id, 0))

    def grow(self, machine_id: str, to: Shape) -> None:
        with self._changing("grow live", machine_id):
            guest = self._on(machine_id)
            has = self._shape(machine_id, guest)
            if self.faults.vcpus_refused or to.vcpus > max(has.vcpus, guest.most[0]):
                raise GarageError("hypervisor_error", N_("libvirt refused: {reason}"), reason="no room for vCPUs")
            guest.grown = (max(has.vcpus, to.vcpus), has.memory_mib)
            if self.faults.memory_refused or to.memory_mib > max(has.memory_mib, guest.most[1]):
                raise GarageError("hypervisor_error", N_("libvirt refused: {reason}"), reason="no room for memory")
            guest.grown = (guest.grown[0], max(has.memory_mib, to.memory_mib))
            self.disk_sizes[machine_id] = max(to.disk_gib, has.disk_gib)

    def _on(self, machine_id: str) -> _Guest:
        """Caller holds the lock."""
        guest = self._guest(machine_id)
        if not self._now(guest).active:
            raise GarageError("hypervisor_error", N_("libvirt refused: {reason}"), reason="domain is not running")
        return guest

    def _check_volume(self, volume_id: str) -> None:
        """As QEMU does, which locks what it opens; caller holds the lock."""
        used = any(volume_id in guest.volumes for guest in self._guests.values() if self._now(guest).active)
        if volume_id not in self.volumes or used:
            reason = 'Failed to get "write" lock' if used else f"Cannot access storage file {volume_id}"
            raise GarageError("hypervisor_error", N_("libvirt refused: {reason}"), reason=reason)

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

    def console(self, machine_id: str) -> bytes:
        with self._lock:
            guest = self._guests.get(machine_id)
            return guest.console if guest else b""

    def forget_console(self, machine_id: str) -> None:
        with self._lock:
            if guest := self._guests.get(machine_id):
                guest.console = b""

    def listen(self, listener: Listener) -> None:
        self._listener = listener

    def close(self) -> None:
        """Domains go on without us."""

    def files_of(self, machine_id: str) -> frozenset[str]:
        """ "disk" and "seed", as far as they are there."""
        self._check()
        with self._lock:
            return frozenset(self.files.get(machine_id, ()))

    # --- what happens to guests by themselves: for tests ---------------------------------------------------------

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

    def _boots_in(self, machine_id: str, guest: _Guest) -> float:
        """Every process that looks at it says the same."""
        boot, spread = self.settings.boot, self.settings.spread
        if spread:
            rng = random.Random(f"{self.settings.seed}/{machine_id}")  # noqa: S311  (a simulation)
            boot *= rng.uniform(1 - spread, 1 + spread)
        return boot - (time.monotonic() - guest.started_at)

    def _check_memory(self, guest: _Guest) -> None:
        """As QEMU finds none; caller holds the lock."""
        held = sum(max(other.memory_mib, other.grown[1]) for other in self._guests.values() if self._now(other).active)
        if held + guest.memory_mib > self.settings.memory_mib:
            reason = "cannot set up guest memory: Cannot allocate memory"
            raise GarageError("hypervisor_error", N_("libvirt refused: {reason}"), reason=reason)

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

    def _now(self, guest: _Guest) -> Domain:
        if guest.stops_at is not None and time.monotonic() >= guest.stops_at:
            guest.domain, guest.stops_at = Domain(Power.OFF, Reason.GUEST), None
        return guest.domain

    def _guest(self, machine_id: str) -> _Guest:
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
            guest = before.get(key) or _Guest()
            guest.domain, guest.started_at, guest.stops_at = Domain(Power(power), Reason(reason)), started_at, stops_at
            guest.memory_mib, guest.frozen = memory_mib, key in news.get("frozen", ())
            guest.defined, guest.volumes = (tuple(ids) for ids in attached.get(key, ((), ())))
            guest.vcpus, most, grown = shapes.get(key, (1, (0, 0), (0, 0)))
            guest.most, guest.grown = tuple(most), tuple(grown)
            self._guests[key] = guest
