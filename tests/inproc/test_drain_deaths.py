"""Workers die before every step of a move: the machine is at exactly one node, with its disk, and work goes on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from garage.core.hypervisor_types import Domain, Power
from garage.services import drains, machines
from garage.services.context import Caller, Context
from garage.shell import fake_hypervisor
from tests.conftest import Clock
from tests.inproc.deaths import Deaths
from tests.inproc.nodes_rig import Nodes, nodes_rigged


@pytest.fixture
def two(ctx: Context, clock: Clock, alice: Caller) -> Iterator[Nodes]:
    with nodes_rigged(ctx, clock, alice) as made:
        yield made


@pytest.mark.parametrize(
    ("way", "outlives"),
    [("live", False), ("live", True), ("cold", True)],
    ids=["its migration ends, too", "its migration goes on", "off, its migration goes on"],
)
def test_killed_anywhere_it_is_at_one_node(
    two: Nodes, admin: Caller, monkeypatch: pytest.MonkeyPatch, way: str, outlives: bool
) -> None:
    deaths = Deaths(monkeypatch)
    monkeypatch.setattr(fake_hypervisor, "STEPS", 1)  # all steps of one migration are alike
    for server in two.servers.values():
        server.fake.faults.migration_outlives = outlives
    ref = two.ready("m")
    if way == "cold":
        machines.stop(two.ctx, two.caller, ref)
        two.until(ref, "stopped")
    left: list[object] = []
    for point in itertools.count(1):
        source = two.row(ref).node
        moves = len(two.moves())
        deaths.order(point)
        drains.drain(two.ctx, admin, source)
        two.empty(source, unless=lambda: deaths.dead)
        died, deaths.left = deaths.dead, 0
        if died:
            two.abandon()
            deaths.dead = False
            begun = two.moves()[moves:]  # killed very early, it has not begun this one
            left.append(
                (*[(row.step, row.spec is not None, row.ended_at is not None) for row in begun], len(two.where(ref)))
            )
            two.begin()
        two.empty(source)
        if way == "cold":
            two.off(ref)
        row = two.row(ref)
        assert row.node != source, f"killed before step {point}: {left[-1:]}"
        assert row.moving_to is None
        assert two.where(ref) == [row.node], f"killed before step {point}: {left[-1:]}"
        fake = two.servers[row.node].fake
        assert "work" in fake.files[ref]
        assert row.state == ("ready" if way == "live" else "stopped")
        assert fake.look(ref) == Domain(Power.RUNNING if way == "live" else Power.OFF)
        starts = sum(call == ("start", ref) for server in two.servers.values() for call in server.fake.calls)
        assert starts == 1 or way == "cold", "the guest never boots again"
        drains.activate(two.ctx, admin, source)
        if not died:
            break
    assert len(set(left)) >= 3, left
