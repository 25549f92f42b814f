"""What either node's worker does about a machine on its way: state in, exact changes out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from garage.core import changes as p
from garage.core.changes import Change, Move, MoveStep, Seen, Wait
from garage.core.domain_xml import DomainSpec
from garage.core.hypervisor_types import Domain, Power, Reason
from garage.core.moves import arrive, arrived, asks, depart
from garage.core.states import State
from garage.core.types import NodeAccess
from tests.core.test_plan import WANTED

HERE = Seen(domain=Domain(Power.RUNNING), disk=True, seed=True, network_version=7, age=0.0)
OFF, PAUSED = Domain(Power.OFF), Domain(Power.PAUSED)
SPEC = DomainSpec(
    "tst", "0" * 20, "one.alice", 1, 512, False, Path("/i"), Path("/k"), None, "quiet", Path("/d"), Path("/s"), "gbtst",
    "gttst1", "52:67:00:00:00:01", Path("/c"),
)  # fmt: skip
GOING = Move(NodeAccess("node2", "fake://"), MoveStep.WANTED, 9, SPEC)
TO_COME = replace(GOING, spec=None)
MOVING, LEFT, UNSURE = (replace(GOING, step=step) for step in (MoveStep.MOVING, MoveStep.LEFT, MoveStep.UNSURE))
READY = replace(WANTED, state=State.READY)
STOPPED = replace(WANTED, state=State.STOPPED, wants_running=False)
COPIED: list[Change] = [p.Define(), p.StartPaused(), p.Migrate()]

DEPARTURES = [
    ("waits for the target", READY, TO_COME, HERE, [Wait("target")]),
    ("goes", READY, GOING, HERE, [p.Migrate()]),
    ("goes, paused as it is", READY, GOING, replace(HERE, domain=PAUSED), [p.Migrate()]),
    ("interrupted, it runs here", READY, MOVING, HERE, [p.Migrate()]),
    ("interrupted, it is gone", READY, MOVING, replace(HERE, domain=None), [p.AskTarget()]),
    ("interrupted, it is off", READY, MOVING, replace(HERE, domain=OFF), [p.AskTarget()]),
    ("interrupted, it is paused", READY, MOVING, replace(HERE, domain=PAUSED), [p.AskTarget()]),
    ("asked", READY, LEFT, replace(HERE, domain=None), [Wait("target")]),
    ("the guest went off before", READY, GOING, replace(HERE, domain=OFF), [p.EndMove()]),
    ("somebody stops it", replace(READY, wants_running=False), GOING, HERE, [p.EndMove()]),
    ("it stops", replace(READY, state=State.STOPPING), GOING, HERE, [p.EndMove()]),
    ("it is deleted, interrupted", replace(READY, state=State.DELETING), MOVING, replace(HERE, domain=None), [p.AskTarget()]),
    ("it is deleted", replace(READY, state=State.DELETING), MOVING, HERE, [p.EndMove()]),
    ("off", STOPPED, GOING, replace(HERE, domain=OFF), COPIED),
    ("off, never defined", replace(STOPPED, state=State.FAILED), GOING, replace(HERE, domain=None), COPIED),
    ("off, no rules", STOPPED, GOING, replace(HERE, domain=OFF, network_version=0), [Wait("network")]),
    ("off, nothing to copy", replace(STOPPED, state=State.FAILED), GOING, replace(HERE, domain=None, disk=False), [p.FinishMove()]),
    ("off, its disk is gone", replace(STOPPED, ran=True), GOING, replace(HERE, domain=OFF, disk=False), COPIED),
    ("off, interrupted", STOPPED, MOVING, replace(HERE, domain=PAUSED), [p.Destroy(), *COPIED]),
    ("off, interrupted, gone", STOPPED, MOVING, replace(HERE, domain=None), [p.AskTarget()]),
    ("off, somebody starts it", replace(STOPPED, state=State.BOOTING), GOING, replace(HERE, domain=OFF), [p.EndMove()]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("machine", "move", "seen", "expected"), [case[1:] for case in DEPARTURES], ids=[case[0] for case in DEPARTURES]
)
def test_departure(machine: p.Wanted, move: Move, seen: Seen, expected: list[Change]) -> None:
    assert depart(replace(machine, move=move), move, seen) == expected


NOTHING = Seen(domain=None, disk=False, seed=False, network_version=9, age=0.0)
ARRIVALS = [
    ("files, then the word", READY, TO_COME, NOTHING, [p.MakeDisk(), p.WriteSeed(), p.Prepared()]),
    ("files while the rules are awaited", READY, TO_COME, replace(NOTHING, network_version=8), [p.MakeDisk(), p.WriteSeed()]),
    ("no rules yet", READY, TO_COME, replace(NOTHING, disk=True, seed=True, network_version=8), [Wait("network")]),
    ("killed after the disk", READY, TO_COME, replace(NOTHING, disk=True), [p.WriteSeed(), p.Prepared()]),
    ("nothing to do", READY, GOING, NOTHING, [Wait("source")]),
    ("it comes", READY, MOVING, replace(NOTHING, domain=PAUSED), [Wait("source")]),
    ("it runs: the source says so", READY, MOVING, replace(NOTHING, domain=Domain(Power.RUNNING)), [Wait("source")]),
    ("asked", READY, LEFT, NOTHING, [p.Confirm()]),
    ("asked, unsure", READY, UNSURE, NOTHING, [p.Confirm()]),
    ("the source is silent, and it runs here", replace(READY, state=State.UNREACHABLE), MOVING,
     replace(NOTHING, domain=Domain(Power.RUNNING)), [p.Confirm()]),
    ("the source is silent", replace(READY, state=State.UNREACHABLE), MOVING, NOTHING, [Wait("source")]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("machine", "move", "seen", "expected"), [case[1:] for case in ARRIVALS], ids=[case[0] for case in ARRIVALS]
)
def test_arrival(machine: p.Wanted, move: Move, seen: Seen, expected: list[Change]) -> None:
    assert arrive(machine, move, seen) == expected


@pytest.mark.parametrize("state", [State.READY, State.DELETING, State.UNREACHABLE, State.BOOTING, State.STOPPED])
@pytest.mark.parametrize("here", [None, *(Domain(power, reason) for power in Power for reason in Reason)])
@pytest.mark.parametrize("there", [None, *(Domain(power) for power in Power)])
def test_an_interrupted_move_has_one_answer_and_never_loses_who_runs(
    state: State, here: Domain | None, there: Domain | None
) -> None:
    """What the source asks and the target answers decide together where the machine is."""
    machine = replace(READY, state=state)
    step = asks(machine, here)
    at_target = step is not None and arrived(replace(GOING, step=step), there)
    if here is not None and here.power is Power.RUNNING:
        assert not at_target
    elif there is not None and there.power is Power.RUNNING and state is not State.STOPPED:
        assert at_target
    if there is None:
        assert not at_target, "nobody is sent to where there is nothing"
    if here is None and there is not None:
        assert at_target, "nor left where there is nothing"
