"""Keys that change reach running guests soon, whatever else their node is busy with, and at little expense."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from garage.services import keys, volumes
from garage.services.context import Caller, Context
from garage.services.volumes import NewVolume
from garage.worker.loop import EFFECTS, KEYS
from tests.conftest import ALICE_KEY, Clock
from tests.inproc.rig import NODE, Rig, rigged


@pytest.fixture
def rig(ctx: Context, clock: Clock, alice: Caller) -> Iterator[Rig]:
    with rigged(ctx, clock, alice) as made:
        yield made


def test_keys_wait_for_no_other_work_of_their_node(rig: Rig) -> None:
    ref, end = rig.ready(), threading.Event()

    def wait() -> None:
        end.wait(60)

    for _ in range(EFFECTS):
        rig.crowd.submit(NODE, wait, EFFECTS)
    try:
        other = rig.make("other")
        keys.add(rig.ctx, rig.caller, "laptop", ALICE_KEY)
        rig.until_true(lambda: rig.row(ref).keys_applied)
        assert rig.row(other).state == "preparing", "its turn has not come"
    finally:
        end.set()


def test_keys_wait_for_nothing_else_that_fails_again_and_again(rig: Rig) -> None:
    ref = rig.ready()
    volumes.create(rig.ctx, rig.caller, NewVolume(name="data", size_gib=1, machine="one"))
    rig.until_true(lambda: bool(rig.fake.volumes_of(ref)))
    rig.fake.faults.keeps_volumes = True
    volumes.detach(rig.ctx, rig.caller, "data")
    rig.until_true(lambda: ref in rig.loop._retry)
    keys.add(rig.ctx, rig.caller, "laptop", ALICE_KEY)
    rig.until_true(lambda: rig.row(ref).keys_applied)
    rig.fake.faults.agent_away = True
    keys.remove(rig.ctx, rig.caller, "laptop")
    rig.until_true(lambda: ref in rig.loop._retry and rig.loop._retry[ref].changes == KEYS)
    assert ("write_file", ref) in rig.fake.calls
    rig.fake.faults.agent_away = False
    rig.settle()
    assert not rig.row(ref).keys_applied, "what fails itself has its pauses"


def test_rows_that_were_loaded_are_not_loaded_again(rig: Rig) -> None:
    rig.ready()
    rig.settle()
    known = rig.node().revision
    rig.loop.changed(known)
    assert not rig.loop._stale
    rig.loop.changed(known + 1)
    assert rig.loop._stale
