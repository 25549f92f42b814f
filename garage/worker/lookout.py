"""Looks at a node, on threads that may wait for it; what was seen comes back as news with the loop's next turn."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from garage.core.changes import Change
from garage.core.hypervisor_types import DiskSpace, Domain, HostFacts
from garage.errors import GarageError
from garage.services.work import Hold
from garage.worker.images import ImageKeeper
from garage.worker.observe import Glance, glance
from garage.worker.shop import Backend

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Done:
    """A machine's changes were carried out, or not."""

    machine_id: str
    changes: list[Change]
    look: Glance | None
    error: GarageError | None
    ended: float
    """By the monotonic clock: all that it wrote was committed before."""


@dataclass(frozen=True, slots=True)
class Panorama:
    """The whole node was looked at, or it did not answer."""

    number: int
    domains: dict[str, Domain] = field(default_factory=dict)
    files: dict[str, tuple[bool, bool]] = field(default_factory=dict)
    facts: HostFacts | None = None
    space: DiskSpace | None = None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Missed:
    """A machine could not be looked at."""

    machine: str
    error: Exception


News = Panorama | Glance | Missed | Done


class Lookout:
    """May be used from any thread."""

    def __init__(self, hold: Hold, backend: Backend, images: ImageKeeper | None, tell: Callable[[News], None]) -> None:
        self._hold, self._backend, self._images, self._tell = hold, backend, images, tell
        self._numbers = itertools.count()

    def number(self) -> int:
        """Of a look that begins now: later ones have higher numbers."""
        return next(self._numbers)

    def all(self, files: list[str]) -> None:
        number, hypervisor, disks = self.number(), self._backend.hypervisor, self._backend.disks
        try:
            domains, facts = hypervisor.observe(), hypervisor.facts()
            found = {machine_id: disks.present(machine_id) for machine_id in files}
            if self._images:
                self._images.look(self._hold)
            self._tell(Panorama(number, domains, found, facts, disks.space()))
        except Exception as error:  # noqa: BLE001  (the loop reports it)
            self._tell(Panorama(number, error=error))

    def one(self, machine_id: str, *, files: bool, console: bool) -> None:
        try:
            self._tell(self.glance(machine_id, files=files, console=console))
        except Exception as error:
            if not isinstance(error, GarageError):
                log.exception("%s: an error of ours", machine_id)
            self._tell(Missed(machine_id, error))

    def glance(self, machine_id: str, *, files: bool, console: bool = False) -> Glance:
        backend = self._backend
        number = self.number()
        return glance(backend.hypervisor, backend.disks, machine_id, number, files=files, console=console)
