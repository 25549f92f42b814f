"""What is seen of a node's machines: the last look at every domain and its files, and what only memory knows (ages, questions asked)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from garage.core.changes import Seen, Wanted
from garage.core.console import panicked
from garage.core.hypervisor_types import Disks, Domain, Hypervisor
from garage.core.plan import CONSOLE_LOOK
from garage.core.states import State

NEEDS_FILES = frozenset({State.SPARE, State.PREPARING, State.BOOTING, State.UNREACHABLE})
"""States whose plans look at disk and seed."""


def needs_files(machine: Wanted) -> bool:
    return machine.state in NEEDS_FILES or machine.move is not None


@dataclass(slots=True)
class _Stay:
    """A machine's stay in one state, timed by a clock that nobody sets."""

    since: float
    state: State
    began: float
    asked: float | None = None
    turn: float | None = None
    console_at: float = 0.0
    panicked: bool = False


@dataclass(frozen=True, slots=True)
class Glance:
    """One look at one machine, by a thread that may wait for the node."""

    machine: str
    number: int
    """Looks are numbered when they begin: of two, the later one counts, whichever is told of first."""
    domain: Domain | None
    files: tuple[bool, bool] | None = None
    """(disk, seed); None where nobody looked."""
    panicked: bool | None = None
    """As its console says; None where nobody looked."""


def glance(
    hypervisor: Hypervisor, disks: Disks, machine_id: str, number: int, *, files: bool, console: bool = False
) -> Glance:
    """Look at one machine; takes as long as the node does. Raises what the hypervisor and the disks raise."""
    domain = hypervisor.look(machine_id)
    present = disks.present(machine_id) if files else None
    said = panicked(hypervisor.console(machine_id)) if console else None
    return Glance(machine_id, number, domain, present, said)


class Observer:
    """Kept by the node's loop; it only remembers, and never waits for the node."""

    def __init__(self, clock: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._clock, self._monotonic = clock, monotonic
        self.image: Callable[[str], int] = lambda _sha256: 100
        """Percent of an image that is on the node."""
        self.domains: dict[str, Domain] = {}
        """Not to be changed by others."""
        self._numbers: dict[str, int] = {}
        self._files: dict[str, tuple[bool, bool]] = {}
        self._stays: dict[str, _Stay] = {}

    def note(self, look: Glance) -> None:
        """One machine was looked at."""
        if look.number < self._numbers.get(look.machine, -1):
            return
        self._numbers[look.machine] = look.number
        if look.domain is None:
            self.domains.pop(look.machine, None)
        else:
            self.domains[look.machine] = look.domain
        if look.files is not None:
            self._files[look.machine] = look.files
        if look.panicked is not None and (stay := self._stays.get(look.machine)) and stay.console_at:
            stay.panicked = (
                look.panicked
            )  # asked for in this stay: an earlier boot's console says nothing about this one

    def note_all(self, number: int, domains: Mapping[str, Domain], files: Mapping[str, tuple[bool, bool]]) -> None:
        """Every domain was looked at, and the files of some machines."""
        for machine_id in domains.keys() | self.domains.keys() | files.keys():
            self.note(Glance(machine_id, number, domains.get(machine_id), files.get(machine_id)))

    def asked(self, machine_id: str) -> None:
        """The guest was asked to shut down, or told who it is."""
        if stay := self._stays.get(machine_id):
            stay.asked = self._monotonic()

    def forget_all_but(self, machine_ids: set[str]) -> None:
        for gone in self._stays.keys() - machine_ids:
            del self._stays[gone]
            self._numbers.pop(gone, None)
            self._files.pop(gone, None)

    def blind(self, machine: Wanted) -> bool:
        """It has to be looked at before anything can be planned: its files, or whether it is here at all."""
        if needs_files(machine):
            return machine.id not in self._files
        self._files.pop(machine.id, None)  # what was true then says nothing about its next start
        return machine.id not in self._numbers

    def forget(self, machine_id: str) -> None:
        """It has come from another node, perhaps after the last look: it would be taken for gone."""
        self._numbers.pop(machine_id, None)
        self._files.pop(machine_id, None)

    def console_due(self, machine: Wanted) -> bool:
        """The console of a machine that boots is to be looked at, but not at every turn; True once per time."""
        stay, now = self._stay(machine), self._monotonic()
        if machine.state is State.BOOTING and machine.started and now >= stay.console_at + CONSOLE_LOOK:
            stay.console_at = now
            return True
        return False

    def seen(
        self, machine: Wanted, network_version: int, *, answered: bool, busy: bool = False, turn: bool = False
    ) -> Seen:
        stay, now = self._stay(machine), self._monotonic()
        if turn and stay.turn is None:
            stay.turn = now
        disk, seed = self._files.get(machine.id, (True, True))
        return Seen(
            domain=self.domains.get(machine.id),
            disk=disk,
            seed=seed,
            image=100 if disk else self.image(machine.image),
            network_version=network_version,
            age=now - stay.began,
            answered=answered,
            asked_ago=None if stay.asked is None else now - stay.asked,
            panicked=stay.panicked,
            turn_ago=None if stay.turn is None else now - stay.turn,
            busy=busy,
        )

    def _stay(self, machine: Wanted) -> _Stay:
        """At first sight the age comes from the wall clock, if that is possible at all; from then on from ours."""
        stay = self._stays.get(machine.id)
        if stay is None or (stay.since, stay.state) != (machine.state_since, machine.state):
            age = max(0.0, self._clock() - machine.state_since) if stay is None else 0.0
            stay = _Stay(machine.state_since, machine.state, self._monotonic() - age)
            self._stays[machine.id] = stay
        return stay
