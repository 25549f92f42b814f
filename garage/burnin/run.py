"""The loop: people work, something breaks, it is mended, all comes to rest, everything is examined."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from garage.burnin.faults import FAULTS, Fault
from garage.burnin.journal import Journal, broken_promises
from garage.burnin.load import Load
from garage.burnin.trial import LOOK, Trial
from garage.core.consistency import Trouble
from garage.core.states import State
from garage.services import checking

BEFORE = 1.0
"""Seconds of work before something breaks."""
REST = 120.0
"""Seconds in which a garage has to come to rest, and a new machine to be ready."""
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one fault. Seconds; None: not within `REST`."""

    fault: str
    downtime: float
    """The longest time for which the API did not answer."""
    recovery: float | None
    """From the mending (or the fault, where it mends itself) until a machine asked for after it was ready."""
    rest: float | None
    """Until nothing was under way any more."""
    troubles: list[str] = field(default_factory=list)
    """What does not fit, what was promised and is not so, and what never came back."""


class Watch:
    """The longest time without an answer from the API."""

    def __init__(self, trial: Trial) -> None:
        self._trial, self._done, self.longest = trial, threading.Event(), 0.0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        last = time.monotonic()
        while not self._done.wait(LOOK):
            if self._trial.answers():
                last = time.monotonic()
            self.longest = max(self.longest, time.monotonic() - last)

    def close(self) -> float:
        self._done.set()
        self._thread.join()
        return self.longest


def burn_in(
    trial: Trial,
    *,
    minutes: float,
    seed: int,
    tell: Tell,
    faults: Sequence[Fault] = FAULTS,
    people: int = 4,
    machines: int = 30,
) -> dict[str, Any]:
    """Every fault once in a random order, then again while there is time; the report."""
    chance, journal = random.Random(seed), Journal()  # noqa: S311
    load = Load(trial.profile, journal, people=people, machines=machines, pause=0.1, seed=seed)
    outcomes: list[Outcome] = []
    until = time.monotonic() + minutes * 60
    while len(outcomes) < len(faults) or time.monotonic() < until:
        for fault in chance.sample(faults, len(faults)):
            if len(outcomes) >= len(faults) and time.monotonic() >= until:
                break
            outcomes.append(_one(trial, journal, load, fault, chance))
            tell(line(outcomes[-1]))
    return report(outcomes, journal, trial)


def _one(trial: Trial, journal: Journal, load: Load, fault: Fault, chance: random.Random) -> Outcome:
    load.start()
    time.sleep(BEFORE)
    watch = Watch(trial)
    mend = fault.inflict(trial, journal, chance)
    time.sleep(fault.seconds)
    mend()
    mended = time.monotonic()
    recovery = _new_machine(trial, journal, load, mended)
    load.rest()
    rest = round(time.monotonic() - mended, 2) if Trial.wait(trial.at_rest, REST) else None
    never = [*(["no new machine"] if recovery is None else []), *(["not at rest"] if rest is None else [])]
    return Outcome(fault.name, round(watch.close(), 2), recovery, rest, [*never, *_examine(trial, journal)])


def _new_machine(trial: Trial, journal: Journal, load: Load, since: float) -> float | None:
    """Seconds from `since` until a machine that was asked for after it is ready."""
    api, key = trial.api(), None
    while time.monotonic() - since < REST:
        key = key or load.make(api, keep=True)
        if key and trial.state(key) is State.READY:
            journal.kept.discard(key)
            return round(time.monotonic() - since, 2)
        time.sleep(LOOK)
    return None


def _examine(trial: Trial, journal: Journal) -> list[str]:
    rows = trial.rows()
    audits = {action: checking.audited(trial.ctx, action) for action in ("machine.create", "machine.delete")}
    found: list[Trouble] = [*trial.troubles(), *broken_promises(journal, rows, audits)]
    return [str(trouble) for trouble in found]


def line(outcome: Outcome) -> str:
    """For people who watch."""
    recovery = "never" if outcome.recovery is None else f"{outcome.recovery:.1f} s"
    rest = "never" if outcome.rest is None else f"{outcome.rest:.1f} s"
    verdict = f"  {len(outcome.troubles)} troubles: {'; '.join(outcome.troubles[:3])}" if outcome.troubles else ""
    return f"{outcome.fault:<20} API away {outcome.downtime:.1f} s, a new machine after {recovery}, at rest after {rest}{verdict}"


def report(outcomes: Sequence[Outcome], journal: Journal, trial: Trial) -> dict[str, Any]:
    """Figures per fault, what people got, what is wrong (empty: nothing)."""
    kinds = {
        fault: [one for one in outcomes if one.fault == fault] for fault in dict.fromkeys(o.fault for o in outcomes)
    }
    return {
        "faults": {name: _figures(ones) for name, ones in kinds.items()},
        "answers": journal.answers,
        "refusals": journal.refusals,
        "machines": len(trial.rows()),
        "troubles": [{"fault": one.fault, "trouble": text} for one in outcomes for text in one.troubles],
        "outcomes": [asdict(one) for one in outcomes],
    }


def _figures(ones: Sequence[Outcome]) -> dict[str, Any]:
    recovered = [one.recovery for one in ones if one.recovery is not None]
    return {
        "times": len(ones),
        "downtime_max": max(one.downtime for one in ones),
        "recovery_median": round(median(recovered), 2) if recovered else None,
        "recovery_max": max(recovered) if len(recovered) == len(ones) else None,
        "never": len(ones) - len(recovered),
        "at_rest": all(one.rest is not None for one in ones),
    }
