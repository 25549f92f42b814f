"""A simulated hypervisor, with disks and guests that answer: for tests, and for fleets larger than the servers at hand.

It keeps the same contract as libvirt's (`tests/contract/test_hypervisor.py`). `fake://` takes settings as a query:
`fake:///var/tmp/fleet.json?boot=2&start=0.1&vcpus=64&memory_mib=262144`; with a
path its domains and disks outlive the process, and other processes see them (`fake_store`). What chance decides follows from `seed`.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from garage.core.domain_xml import DomainSpec, VolumeDisk
from garage.core.hypervisor_types import Domain, HostFacts, Power, Shape, Unless
from garage.core.snapshots import not_frozen
from garage.core.types import NodeAccess
from garage.errors import N_, GarageError
from garage.shell.fake_server import OFF, FakeServer, Guest
from garage.shell.fake_settings import Settings
from garage.shell.fake_time import TICKER

RUNNING, PAUSED = Domain(Power.RUNNING), Domain(Power.PAUSED)
_by_uri: weakref.WeakValueDictionary[str, FakeHypervisor] = weakref.WeakValueDictionary()
"""Those of this process that have an address: between them guests move."""
PAUSE_MS = 20.0
STEPS = 4


class FakeHypervisor(FakeServer):
    """`Hypervisor`, and by `disks()` and `prober()` the rest of a node's outside world. Safe to share between threads."""

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
            guest = self._guests.setdefault(spec.machine_id, Guest())
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

    def receive(self, machine_id: str, guest: Guest, disk: frozenset[str]) -> None:
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
        def copy() -> None:
            self.snapshots.setdefault(machine_id, {})[target.name] = self.contents.get(machine_id, "")

        self._mirror(machine_id, copy, frozen=frozen, told=told)

    def copy_volume(
        self, machine_id: str, volume_id: str, target: Path, *, frozen: bool, told: Callable[[int], None]
    ) -> None:
        def copy() -> None:
            self._check_has(machine_id, volume_id)
            self.volumes[volume_id]["kept"][target.name] = self.volumes[volume_id]["holds"]

        self._mirror(machine_id, copy, frozen=frozen, told=told)

    def _mirror(self, machine_id: str, copy: Callable[[], None], *, frozen: bool, told: Callable[[int], None]) -> None:
        for step in range(STEPS):
            told(step * 100 // STEPS)
        try:
            self._stand_still(machine_id, frozen=frozen)
            told(100)
            with self._changing("copy", machine_id):
                copy()
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
            self._check_has(machine_id, volume_id)
            self.volumes[volume_id]["gib"] = max(size_gib, self.volumes[volume_id]["gib"])

    def _check_has(self, machine_id: str, volume_id: str) -> None:
        if volume_id not in self._on(machine_id).volumes:
            raise GarageError("hypervisor_error", N_("libvirt refused: {reason}"), reason="no such disk")

    def shape(self, machine_id: str) -> Shape:
        self._reach()
        with self._lock:
            return self._shape(machine_id, self._on(machine_id))

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

    def console(self, machine_id: str) -> bytes:
        with self._lock:
            guest = self._guests.get(machine_id)
            return guest.console if guest else b""

    def forget_console(self, machine_id: str) -> None:
        with self._lock:
            if guest := self._guests.get(machine_id):
                guest.console = b""

    def close(self) -> None:
        """Domains go on without us."""
