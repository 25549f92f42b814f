"""How a migration is called off: never in its last moment, in which the guest is at neither end, unless that lasts."""

from __future__ import annotations

from dataclasses import dataclass, field

import libvirt
import pytest

from garage.shell import migration

RUNS = [libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_BOOTED]


@dataclass
class Domain:
    """A domain of which libvirt says `states`, one a look; then it has left."""

    states: list[list[int]]
    aborted: int = 0
    asked: list[list[int]] = field(default_factory=list)

    def isActive(self) -> bool:
        return bool(self.states)

    def jobInfo(self) -> list[int]:
        return [libvirt.VIR_DOMAIN_JOB_UNBOUNDED]

    def state(self) -> list[int]:
        self.asked.append(self.states.pop(0))
        return self.asked[-1]

    def abortJob(self) -> None:
        self.aborted += 1
        self.states.clear()


def test_one_that_runs_is_called_off_at_once() -> None:
    migration.end(domain := Domain([RUNS, RUNS]))
    assert (domain.aborted, len(domain.asked)) == (1, 1)


def test_one_in_its_last_moment_comes_to_its_end() -> None:
    migration.end(domain := Domain([migration.HANDED_OVER] * 3))
    assert (domain.aborted, len(domain.asked)) == (0, 3)


def test_a_last_moment_that_lasts_is_called_off_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migration, "LAST_MOMENT", 0.1)
    migration.end(domain := Domain([migration.HANDED_OVER] * 1000))
    assert domain.aborted == 1


def test_one_that_came_back_from_it_is_called_off() -> None:
    migration.end(domain := Domain([migration.HANDED_OVER, RUNS, RUNS]))
    assert (domain.aborted, len(domain.asked)) == (1, 2)
