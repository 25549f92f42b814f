"""`garage admin burn-in`: a garage of its own is broken, comes back, and keeps every promise; what does not fit is found."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from garage.burnin import faults
from garage.burnin.faults import Fault, Mend
from garage.burnin.journal import Journal, broken_promises
from garage.burnin.run import burn_in
from garage.burnin.trial import Trial
from garage.core.consistency import Kind, Row
from garage.core.states import State
from garage.db.models import Machine

CHOSEN = tuple(
    fault
    for fault in faults.FAULTS
    if fault.name in ("everything killed", "worker killed", "request repeated", "disk full")
)


@pytest.fixture(scope="module")
def trial() -> Iterator[Trial]:
    """Nothing of it may be left."""
    with Trial(nodes=2, boot=0.1) as made:
        yield made
        pids = [part.pid for part in made.parts.values()]
    assert not made.home.exists()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def lose(trial: Trial, journal: Journal, _chance: random.Random) -> Mend:
    """What must never happen: an acknowledged machine is forgotten, its domain stays."""
    assert trial.wait(lambda: _forgotten(trial, journal))
    return lambda: None


def _forgotten(trial: Trial, journal: Journal) -> bool:
    """One that nobody deletes at this moment, as that would take its domain along."""
    with trial.ctx.db.write() as session:
        found = (session.get_one(Machine, key) for key in journal.alive())
        lost = next((row for row in found if row.state == State.READY.value), None)
        if lost is not None:
            session.delete(lost)
    return lost is not None


def test_everything_comes_back_and_no_promise_is_broken(trial: Trial) -> None:
    said: list[str] = []
    found = burn_in(trial, minutes=0, seed=1, tell=said.append, faults=CHOSEN, machines=10)
    assert found["troubles"] == []
    assert len(said) == len(found["faults"]) == len(CHOSEN)
    assert all(one["never"] == 0 and one["at_rest"] for one in found["faults"].values())
    assert found["faults"]["everything killed"]["downtime_max"] > 0
    assert found["answers"] > 20
    assert json.loads(json.dumps(found)) == found


def test_a_machine_that_is_lost_is_found_out(trial: Trial) -> None:
    found = burn_in(trial, minutes=0, seed=1, tell=lambda _text: None, faults=(Fault("lose", lose),), machines=10)
    kinds = {trouble["trouble"].split()[0] for trouble in found["troubles"]}
    assert kinds >= {Kind.PROMISE, Kind.DOMAIN_STRAY, Kind.DISK_STRAY}


def row(key: str, state: State, name: str = "") -> Row:
    return Row(key, name or key, "p", state, "a", None, False, key, key, key, key, has_key=False)


@pytest.mark.parametrize(
    ("journal", "rows", "wrong"),
    [
        (Journal(made={"m": "m"}), [row("m", State.READY)], set()),
        (Journal(made={"m": "m"}), [row("m", State.FAILED)], set()),
        (Journal(made={"m": "m"}), [], {Kind.PROMISE}),
        (Journal(made={"m": "m"}), [row("m", State.GONE)], {Kind.PROMISE}),
        (Journal(made={"m": "m"}, deleted={"m"}), [row("m", State.GONE)], set()),
        (Journal(made={"m": "m"}, deleted={"m"}), [row("m", State.READY)], {Kind.PROMISE}),
        (Journal(made={"m": "m"}, asked={"m"}), [row("m", State.GONE)], set()),
        (Journal(made={"m": "m"}, asked={"m"}), [row("m", State.READY)], set()),
        (Journal(unsure={"u"}), [row("1", State.READY, "u"), row("2", State.GONE, "u")], {Kind.NAME_TWICE}),
        (Journal(unsure={"u"}), [row("1", State.READY, "u")], set()),
    ],
)
def test_each_promise_is_looked_at(journal: Journal, rows: list[Row], wrong: set[Kind]) -> None:
    audits = {"machine.create": {"m"}, "machine.delete": {"m"}}
    assert {trouble.kind for trouble in broken_promises(journal, rows, audits)} == wrong


def test_what_the_audit_log_does_not_have_is_named() -> None:
    audits: dict[str, set[str]] = {"machine.create": set(), "machine.delete": {"m"}}
    [trouble] = broken_promises(Journal(made={"m": "m"}), [row("m", State.READY)], audits)
    assert trouble.kind is Kind.AUDIT_MISSING
