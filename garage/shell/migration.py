"""One live migration: memory and the overlay disk go from QEMU to QEMU in TLS; both libvirt daemons are led from here.

libvirt's "managed direct" migration (libvirt.org/migration.html), not its "peer to peer": for that each node's libvirt would have to let
every other node's in, which is root on it. If this process dies, libvirt ends the attempt and the guest goes on where it was.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

import libvirt

from garage.core.domain_xml import DomainSpec
from garage.errors import N_, GarageError

LOOK = 0.25
"""Seconds between looks at the progress."""
STALL = 60.0
"""Seconds without a byte after which it is given up."""
LIMIT = 3600.0
"""Seconds that it may take at all; before, the guest is slowed down until it fits (auto-converge)."""
FIRST_PORT = 49152
"""libvirt's first of those where QEMU waits for guests and their disks (qemu.conf, migration_port_min)."""
LAST_MOMENT = 10.0
"""Seconds for which a guest may stand still before that is called off, too; usually it is a third of one."""
END_LOOK = 0.05
"""Seconds between looks whether it has ended."""
HANDED_OVER = [libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION]
"""What virDomainGetState says of a guest at its last moment here."""
ENDING = 30.0
"""Seconds that libvirt may take to put an end to it."""
FLAGS = (
    libvirt.VIR_MIGRATE_LIVE
    | libvirt.VIR_MIGRATE_TLS
    | libvirt.VIR_MIGRATE_NON_SHARED_INC
    | libvirt.VIR_MIGRATE_AUTO_CONVERGE
    | libvirt.VIR_MIGRATE_PERSIST_DEST
    | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
    | libvirt.VIR_MIGRATE_ABORT_ON_ERROR
)
DISK = "vda"
"""The overlay; the seed cannot change and is there already."""


@dataclass(frozen=True, slots=True)
class Journey:
    """What moves, and whereto."""

    spec: DomainSpec
    name: str
    """The target's: its certificate must say so."""
    address: str
    told: Callable[[int], None]
    stall: float
    limit: float

    def go(self, domain: Any, there: Any) -> float:
        """Move `domain` to the connection `there`; the guest's pause in ms. libvirtError as libvirt says it, `timeout` when given up."""
        xml = moved_xml(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE | libvirt.VIR_DOMAIN_XML_MIGRATABLE), self.spec)
        host = f"[{self.address}]" if ":" in self.address else self.address
        params = {
            libvirt.VIR_MIGRATE_PARAM_URI: f"tcp://{host}",
            libvirt.VIR_MIGRATE_PARAM_TLS_DESTINATION: self.name,
            libvirt.VIR_MIGRATE_PARAM_DEST_XML: xml,
            libvirt.VIR_MIGRATE_PARAM_PERSIST_XML: xml,
            libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS: [DISK],
        }
        attempt = _Attempt(domain, there, params)
        self._watch(attempt, domain)
        return attempt.pause()

    def _watch(self, attempt: _Attempt, domain: Any) -> None:
        """Until it has ended, by itself or by us."""
        end, moved, moved_at, percent = time.monotonic() + self.limit, -1, time.monotonic(), -1
        while not attempt.ended(LOOK):
            now, stats = time.monotonic(), _stats(domain)
            if (done := int(stats.get("data_processed", 0))) != moved:
                moved, moved_at = done, now
            if (new := _percent(stats)) > percent:
                percent = new
                self.told(percent)
            if now >= end or now - moved_at >= self.stall:
                self._give_up(attempt, domain)
        attempt.check()
        self.told(100)

    def _give_up(self, attempt: _Attempt, domain: Any) -> None:
        threading.Thread(target=_abort, args=(domain,), name="migration-end", daemon=True).start()  # it may hang, too
        if attempt.ended(ENDING) and attempt.moved:
            return
        raise GarageError(
            "timeout",
            N_("moving to {node} does not get on"),
            hint=N_("is the line between the nodes too slow, or the guest too busy?"),
            node=self.name,
        )


class _Attempt:
    """libvirt's call, on a thread of its own."""

    def __init__(self, domain: Any, there: Any, params: Mapping[str, Any]) -> None:
        self.moved: Any = None
        """The domain at the target."""
        self._error: BaseException | None = None
        self._done = threading.Event()
        self._args = (domain, there, params)
        threading.Thread(target=self._run, name="migration", daemon=True).start()

    def _run(self) -> None:
        domain, there, params = self._args
        try:
            self.moved = domain.migrate3(there, params, FLAGS)
        except BaseException as error:  # noqa: BLE001  (handed to whoever waits)
            self._error = error
        self._done.set()

    def ended(self, seconds: float) -> bool:
        return self._done.wait(seconds)

    def check(self) -> None:
        if self._error is not None:
            raise self._error

    def pause(self) -> float:
        """Of the completed job, as the target counts it (virDomainGetJobStats, "downtime")."""
        return float(self.moved.jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED).get("downtime", 0))


def end(domain: Any) -> None:
    """Have no migration of it under way. One in its last moment, in which the guest is at neither end, is let come to its end: QEMU 7.2
    may die of the next migration after it was called off there (docs/decisions/0130-moving.md)."""
    patient = time.monotonic() + LAST_MOMENT
    while domain.isActive() and domain.jobInfo()[0] != libvirt.VIR_DOMAIN_JOB_NONE:
        if domain.state() != HANDED_OVER or time.monotonic() >= patient:
            _abort(domain)
        time.sleep(END_LOOK)


def _abort(domain: Any) -> None:
    with contextlib.suppress(libvirt.libvirtError):  # it may have ended this very moment
        domain.abortJob()


def _stats(domain: Any) -> dict[str, Any]:
    try:
        return dict(domain.jobStats())
    except libvirt.libvirtError:  # it is gone from here: the end is near
        return {}


def _percent(stats: Mapping[str, Any]) -> int:
    """Of memory and disk together, never 100 before the end. Pages that change are sent again, so both sums grow."""
    total, left = (int(stats.get(key, 0)) for key in ("data_total", "data_remaining"))
    return min(99, (total - left) * 100 // total) if total > 0 else 0


def moved_xml(live: str, spec: DomainSpec) -> str:
    """The running domain's XML, which says what its guest sees, with the target's names for what lies outside the guest."""
    root = ET.fromstring(live)  # noqa: S314  (libvirt's; it expands no entities of a document type)
    _text(root, "title", spec.title)
    _text(root, "os/kernel", str(spec.kernel))
    _text(root, "os/initrd", str(spec.initrd or ""))
    for target, path in ((DISK, spec.disk), ("vdb", spec.seed)):
        _attribute(root, f"devices/disk/target[@dev='{target}']/../source", "file", str(path))
    _attribute(root, f"devices/disk/target[@dev='{DISK}']/../backingStore/source", "file", str(spec.image_disk))
    _attribute(root, "devices/interface/source", "bridge", spec.bridge)
    _attribute(root, "devices/interface/target", "dev", spec.tap)
    for kind in ("serial", "console"):
        _attribute(root, f"devices/{kind}/log", "file", str(spec.console_log))
    return ET.tostring(root, encoding="unicode")


def _text(root: ET.Element, path: str, value: str) -> None:
    if (found := root.find(path)) is not None:
        found.text = value


def _attribute(root: ET.Element, path: str, key: str, value: str) -> None:
    for found in root.findall(path):
        found.set(key, value)
