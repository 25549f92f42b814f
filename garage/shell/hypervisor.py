"""libvirt: one node's domains of one instance, over one connection (`libvirt_connection`)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import libvirt

from garage.core.domain_xml import DISK, DomainSpec, VolumeDisk, io_limits, render, volume_devices
from garage.core.hypervisor_types import Domain, HostFacts, Power, Reason, Shape, Unless
from garage.core.snapshots import not_frozen
from garage.core.types import NodeAccess
from garage.errors import N_, GarageError
from garage.shell import disk_copy, growing, guest_agent, migration, volume_disks
from garage.shell.libvirt_connection import CONNECT_DEADLINE, LibvirtConnection, Missing, away, missing_is_gone

SLOW_DEADLINE = 60.0
"""Of define and start: the first of them after an upgrade of QEMU waits for libvirt to ask QEMU what it can (8-16 s on 2 cores)."""
EXECUTED_LOOK = 0.25
"""Seconds between questions whether a script in a guest has ended."""
UNLESS_LOOK = 0.02

_STATES: dict[int, Power] = {
    libvirt.VIR_DOMAIN_NOSTATE: Power.RUNNING,
    libvirt.VIR_DOMAIN_RUNNING: Power.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: Power.RUNNING,
    libvirt.VIR_DOMAIN_SHUTDOWN: Power.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: Power.PAUSED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: Power.PAUSED,
    libvirt.VIR_DOMAIN_SHUTOFF: Power.OFF,
    libvirt.VIR_DOMAIN_CRASHED: Power.CRASHED,
}


def domain_of(state: int, reason: int) -> Domain:
    """libvirt's pair (virDomainGetState) as ours."""
    power = _STATES.get(state, Power.RUNNING)
    if power is Power.OFF and reason == libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN:
        return Domain(power, Reason.GUEST)
    if power is Power.OFF and reason == libvirt.VIR_DOMAIN_SHUTOFF_CRASHED:
        return Domain(power, Reason.CRASH)
    if power is Power.PAUSED and reason == libvirt.VIR_DOMAIN_PAUSED_IOERROR:
        return Domain(power, Reason.FULL)
    if power is Power.PAUSED and reason == libvirt.VIR_DOMAIN_PAUSED_CRASHED:
        return Domain(Power.CRASHED, Reason.CRASH)
    return Domain(power, Reason.CRASH if power is Power.CRASHED else Reason.OTHER)


class LibvirtHypervisor(LibvirtConnection):
    """`core.hypervisor_types.Hypervisor` at a libvirt URI."""

    # --- what is there -------------------------------------------------------------------------------------------

    def facts(self) -> HostFacts:
        info, (memory, available), waiting = self._call(
            lambda connection: (connection.getInfo(), _memory_mib(connection), self._waiting_mib(connection))
        )
        available = None if available is None else available + waiting
        virtualisation = self._host.virtualisation() if self._uri.startswith("qemu") else "tcg"
        return HostFacts(int(info[2]), memory, virtualisation, self._host.boot_id(), available)

    def _waiting_mib(self, connection: Any) -> int:
        """What our paused guests hold: machines that wait in a pool make way."""
        paused = connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_PAUSED)
        return sum(_resident_mib(domain) for domain in paused if domain.name().startswith(self._prefix))

    def observe(self) -> dict[str, Domain]:
        found = self._call(self._observe)
        self._host.keep_consoles([self._log(machine_id) for machine_id in found])
        return found

    def _observe(self, connection: Any) -> dict[str, Domain]:
        found = {}
        for domain in connection.listAllDomains():
            name = domain.name()
            if name.startswith(self._prefix):
                with contextlib.suppress(Missing), missing_is_gone():
                    found[name.removeprefix(self._prefix)] = domain_of(*domain.state())
        return found

    def look(self, machine_id: str) -> Domain | None:
        def work(connection: Any) -> Domain | None:
            domain = self._find(connection, machine_id)
            with contextlib.suppress(Missing), missing_is_gone():
                return domain_of(*domain.state()) if domain else None
            return None

        return self._call(work)

    # --- what is done --------------------------------------------------------------------------------------------

    def define(self, spec: DomainSpec) -> None:
        xml = render(spec, driver="test" if self._uri.startswith("test:") else "")
        self._host.prepare_console(spec.console_log)
        self._call(lambda connection: connection.defineXML(xml), seconds=SLOW_DEADLINE)

    def start(self, machine_id: str, *, paused: bool = False) -> None:
        flags = libvirt.VIR_DOMAIN_START_PAUSED if paused else 0

        def work(domain: Any) -> None:
            if not domain.isActive():
                domain.createWithFlags(flags)

        self._on(machine_id, work, seconds=SLOW_DEADLINE)
        self._host.keep_consoles([self._log(machine_id)])

    def resume(self, machine_id: str) -> None:
        def work(domain: Any) -> None:
            if domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED:
                domain.resume()

        self._on(machine_id, work)

    def suspend(self, machine_id: str) -> None:
        def work(domain: Any) -> None:
            if domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING:
                domain.suspend()

        self._on(machine_id, work)

    def shutdown(self, machine_id: str) -> None:
        self._on(machine_id, _ask_to_shut_down)

    def destroy(self, machine_id: str) -> None:
        def work(connection: Any) -> None:
            domain = self._find(connection, machine_id)
            if domain and domain.isActive():
                domain.destroy()

        self._call(work, ignore=(libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID))

    def undefine(self, machine_id: str) -> None:
        def work(connection: Any) -> None:
            if domain := self._find(connection, machine_id):
                flags = libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
                if "<nvram" in domain.XMLDesc():  # not every driver knows the flag
                    flags |= libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
                domain.undefineFlags(flags)

        self._call(work, ignore=(libvirt.VIR_ERR_NO_DOMAIN,))

    def limit_disk(self, machine_id: str, iops: int, megabytes: int) -> None:
        def work(domain: Any) -> None:
            for disk in (DISK, *volume_devices(domain.XMLDesc())) if domain.isActive() else ():
                domain.setBlockIoTune(disk, io_limits(iops, megabytes), libvirt.VIR_DOMAIN_AFFECT_LIVE)

        self._on(machine_id, work)

    def write_file(self, machine_id: str, path: str, data: bytes) -> None:
        self._on(machine_id, lambda domain: guest_agent.write_file(domain, path, data))

    def execute(
        self, machine_id: str, script: str, data: bytes = b"", *, wait: float = 0.0, unless: Unless = lambda: False
    ) -> bool:
        started: list[int] = []
        self._on(machine_id, lambda domain: started.append(guest_agent.execute(domain, script, data)))
        end = time.monotonic() + wait
        while time.monotonic() < end and not _slept(EXECUTED_LOOK, unless):
            ended: list[int | None] = []
            self._on(machine_id, lambda domain, ended=ended: ended.append(guest_agent.exit_code(domain, started[0])))  # type: ignore[misc]
            if ended[0] is not None:
                return ended[0] == 0
        return not wait

    def migrate(self, spec: DomainSpec, to: NodeAccess, told: Callable[[int], None]) -> float:
        """QEMU to QEMU in TLS; the source's libvirt never reaches the target's, both are led from here."""
        address = self._ways.address(to, seen_from=self._node)
        self._host.check_reach(to.name, address, migration.FIRST_PORT)
        self._ways.host(to).prepare_console(spec.console_log)
        journey = migration.Journey(spec, to.name, address, told, migration.STALL, migration.LIMIT)
        return self._send(journey, self._dial(to, CONNECT_DEADLINE))  # never closed by us: libvirt may still be at it

    def _send(self, journey: migration.Journey, there: Any) -> float:
        here = self._connected()
        try:
            return journey.go(here.lookupByName(journey.spec.name), there)
        except libvirt.libvirtError as error:
            if self._is_lost(here, error):
                self._lose(here)
                raise away(str(error)) from None
            raise GarageError("hypervisor_error", N_("libvirt refused: {reason}"), reason=str(error)[:400]) from None

    def cancel_migration(self, machine_id: str) -> None:
        def work(connection: Any) -> None:
            domain = self._find(connection, machine_id)
            with contextlib.suppress(Missing), missing_is_gone():
                if domain:
                    migration.end(domain)

        self._call(work, seconds=SLOW_DEADLINE)

    def copy_disk(
        self, machine_id: str, target: Path, image: Path, *, frozen: bool, told: Callable[[int], None]
    ) -> None:
        self._mirror(machine_id, disk_copy.Mirror(target, image), frozen=frozen, told=told)

    def copy_volume(
        self, machine_id: str, volume_id: str, target: Path, *, frozen: bool, told: Callable[[int], None]
    ) -> None:
        self._mirror(machine_id, disk_copy.Mirror(target, volume=volume_id), frozen=frozen, told=told)

    def _mirror(self, machine_id: str, mirror: disk_copy.Mirror, *, frozen: bool, told: Callable[[int], None]) -> None:
        if frozen:  # before anything is copied for nothing
            self._of_agent(machine_id, guest_agent.thaw)
        self._on(machine_id, lambda domain: disk_copy.begin(domain, mirror), seconds=SLOW_DEADLINE)
        try:
            self._until_alike(machine_id, mirror, told)
            with self._frozen(machine_id) if frozen else contextlib.nullcontext():
                told(100)
                self._until_alike(machine_id, mirror, lambda _percent: None)
                self._on(machine_id, lambda domain: disk_copy.finish(domain, mirror))
        except Exception:
            with contextlib.suppress(GarageError):  # whoever comes next does it again
                self.end_copy(machine_id)
            raise

    def _until_alike(self, machine_id: str, mirror: disk_copy.Mirror, told: Callable[[int], None]) -> None:
        last = time.monotonic() + disk_copy.LIMIT
        while (percent := self._ask(machine_id, lambda domain: disk_copy.percent(domain, mirror))) < 100:
            if time.monotonic() >= last:
                raise GarageError("timeout", N_("copying its disk took more than {seconds} s"), seconds=disk_copy.LIMIT)
            told(percent)
            time.sleep(disk_copy.LOOK)

    @contextlib.contextmanager
    def _frozen(self, machine_id: str) -> Iterator[None]:
        """What stood still until the end, and no shorter, is whole."""
        if not (still := self._of_agent(machine_id, guest_agent.freeze)):
            raise not_frozen("none of them can be")
        yield
        if self._ask(machine_id, guest_agent.thaw) < still:
            raise not_frozen("they did not stay so until the end")

    def _of_agent(self, machine_id: str, work: Callable[[Any], int]) -> int:
        try:
            return self._ask(machine_id, work)
        except GarageError as error:
            if error.code != "hypervisor_error":
                raise
            raise not_frozen(str(error.params.get("reason", error))) from None

    def end_copy(self, machine_id: str) -> None:
        self._where_on(machine_id, disk_copy.end)
        self._where_on(machine_id, _thaw)

    def attach_volume(self, machine_id: str, volume: VolumeDisk) -> None:
        self._on(machine_id, lambda domain: volume_disks.attach(domain, volume), seconds=SLOW_DEADLINE)

    def detach_volume(self, machine_id: str, volume_id: str) -> bool:
        self._on(machine_id, lambda domain: volume_disks.ask_back(domain, volume_id), seconds=SLOW_DEADLINE)
        last = time.monotonic() + volume_disks.LET_GO
        while self._ask(machine_id, lambda domain: volume_disks.has(domain, volume_id)):
            if time.monotonic() >= last:
                return False
            time.sleep(volume_disks.LOOK)
        return True

    def resize_volume(self, machine_id: str, volume_id: str, size_gib: int) -> None:
        self._on(machine_id, lambda domain: volume_disks.resize(domain, volume_id, size_gib), seconds=SLOW_DEADLINE)

    def shape(self, machine_id: str) -> Shape:
        return self._ask(machine_id, growing.shape)

    def grow(self, machine_id: str, to: Shape) -> None:
        self._on(machine_id, lambda domain: growing.grow(domain, to), seconds=SLOW_DEADLINE)

    def console(self, machine_id: str) -> bytes:
        return self._host.console(self._log(machine_id))

    def forget_console(self, machine_id: str) -> None:
        self._host.forget_console(self._log(machine_id))

    def _log(self, machine_id: str) -> Path:
        return self._console / f"{machine_id}.log"


def _ask_to_shut_down(domain: Any) -> None:
    """The agent first (it works without a login manager in the guest), else ACPI's power button."""
    if not domain.isActive():
        return
    with contextlib.suppress(libvirt.libvirtError):
        domain.agentSetResponseTimeout(guest_agent.TIMEOUT)
    for flags in (libvirt.VIR_DOMAIN_SHUTDOWN_GUEST_AGENT, libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN, 0):
        with contextlib.suppress(libvirt.libvirtError):  # no agent, no such way with this driver, or off meanwhile
            domain.shutdownFlags(flags)
            return


def _slept(seconds: float, unless: Unless) -> bool:
    """Sleeps; True at once when `unless()`."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if unless():
            return True
        time.sleep(min(left, UNLESS_LOOK))
    return False


def _memory_mib(connection: Any) -> tuple[int, int | None]:
    """(the node's RAM, what of it is available); virNodeGetInfo adds up NUMA cells and misses memory that was plugged in later."""
    try:
        stats = connection.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS, 0)
        return int(stats["total"]) // 1024, sum(int(stats[key]) for key in ("free", "buffers", "cached")) // 1024
    except (libvirt.libvirtError, KeyError):
        return int(connection.getInfo()[1]), None


def _resident_mib(domain: Any) -> int:
    """Of its QEMU; 0 where the driver cannot say, or it went off meanwhile."""
    try:
        return int(domain.memoryStats().get("rss", 0)) // 1024
    except libvirt.libvirtError:
        return 0


def _thaw(domain: Any) -> None:
    with contextlib.suppress(libvirt.libvirtError, GarageError):  # no agent, or it hangs: nothing stands still for long
        guest_agent.thaw(domain)
