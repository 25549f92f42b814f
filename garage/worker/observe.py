"""What is seen of a node's machines: the last look at every domain, and what only memory knows (ages, questions asked)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from garage.core.console import panicked
from garage.core.hypervisor_types import Disks, Domain
from garage.core.plan import CONSOLE_LOOK, Seen, Wanted
from garage.core.states import State

NEEDS_FILES = frozenset({State.SPARE, State.PREPARING, State.BOOTING, State.UNREACHABLE})
"""States whose plans look at disk and seed."""


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


class Observer:
    """Kept by the node's thread."""

    def __init__(
        self,
        disks: Disks,
        console: Callable[[str], bytes],
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._disks, self._console, self._clock, self._monotonic = disks, console, clock, monotonic
        self.image: Callable[[str], int] = lambda _sha256: 100
        """Percent of an image that is on the node."""
        self.domains: dict[str, Domain] = {}
        self._stays: dict[str, _Stay] = {}

    def note(self, machine_id: str, domain: Domain | None) -> None:
        """One domain was looked at."""
        if domain is None:
            self.domains.pop(machine_id, None)
        else:
            self.domains[machine_id] = domain

    def asked(self, machine_id: str) -> None:
        """The guest was asked to shut down."""
        if stay := self._stays.get(machine_id):
            stay.asked = self._monotonic()

    def forget_all_but(self, machine_ids: set[str]) -> None:
        for gone in self._stays.keys() - machine_ids:
            del self._stays[gone]

    def seen(
        self, machine: Wanted, network_version: int, *, answered: bool, busy: bool = False, turn: bool = False
    ) -> Seen:
        stay, now = self._stay(machine), self._monotonic()
        if turn and stay.turn is None:
            stay.turn = now
        looked = machine.state in NEEDS_FILES or machine.move is not None
        disk, seed = self._disks.present(machine.id) if looked else (True, True)
        return Seen(
            domain=self.domains.get(machine.id),
            disk=disk,
            seed=seed,
            image=100 if disk else self.image(machine.image),
            network_version=network_version,
            age=now - stay.began,
            answered=answered,
            asked_ago=None if stay.asked is None else now - stay.asked,
            panicked=self._panicked(machine, stay, now),
            turn_ago=None if stay.turn is None else now - stay.turn,
            busy=busy,
        )

    def _panicked(self, machine: Wanted, stay: _Stay, now: float) -> bool:
        """Looks at the console of a machine that boots, but not at every turn."""
        if machine.state is State.BOOTING and machine.started and now >= stay.console_at + CONSOLE_LOOK:
            stay.console_at, stay.panicked = now, panicked(self._console(machine.id))
        return stay.panicked

    def _stay(self, machine: Wanted) -> _Stay:
        """At first sight the age comes from the wall clock, if that is possible at all; from then on from ours."""
        stay = self._stays.get(machine.id)
        if stay is None or (stay.since, stay.state) != (machine.state_since, machine.state):
            age = max(0.0, self._clock() - machine.state_since) if stay is None else 0.0
            stay = _Stay(machine.state_since, machine.state, self._monotonic() - age)
            self._stays[machine.id] = stay
        return stay
