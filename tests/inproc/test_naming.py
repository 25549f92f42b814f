"""Every node of a site knows the names of the others' machines, and is told when they change."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from garage.core.states import State
from garage.db.models import Machine, Node
from garage.services import fleet, machines, naming, nodes
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from garage.worker.naming import EVERY, NameTeller
from tests.inproc.rig import Monotonic


def names(ctx: Context, node: str) -> tuple[set[str], set[str]]:
    """(of machines there, of machines elsewhere) as the node is told."""
    with ctx.db.read() as session:
        spec = nodes.build_spec(session, ctx, session.get_one(Node, node))
    return {m.name for m in spec.machines}, {m.name for m in spec.elsewhere}


def spec_versions(ctx: Context) -> dict[str, int]:
    with ctx.db.read() as session:
        return dict(session.execute(select(Node.name, Node.spec_version)).all())


@pytest.fixture
def pair(ctx: Context, alice: Caller) -> list[str]:
    """Two nodes more than the first, a machine on each."""
    made = fleet.add_nodes(ctx, 2)
    fleet.add_machines(ctx, 2, made)
    return made


def test_each_is_told_of_the_others_and_never_twice(ctx: Context, pair: list[str]) -> None:
    assert names(ctx, "sim1") == ({"sim1-1"}, {"sim2-2"})
    assert names(ctx, ctx.config.node) == (set(), {"sim1-1", "sim2-2"})
    with ctx.db.write() as session:
        session.scalars(select(Machine).where(Machine.node == "sim1")).one().moving_to = "sim2"
    assert names(ctx, "sim2") == ({"sim1-1", "sim2-2"}, set())
    assert names(ctx, "sim1") == ({"sim1-1"}, {"sim2-2"})
    with ctx.db.write() as session:
        session.scalars(select(Machine).where(Machine.node == "sim2")).one().state = State.LOST.value
    assert names(ctx, ctx.config.node) == (set(), {"sim1-1"})


def test_all_ask_anew_when_a_name_has_come_or_gone_and_only_then(ctx: Context, alice: Caller, pair: list[str]) -> None:
    assert naming.spread(ctx)
    before = spec_versions(ctx)
    assert not naming.spread(ctx)
    assert spec_versions(ctx) == before
    made = machines.create(ctx, alice, NewMachine(name="one", size="tiny"))
    assert naming.spread(ctx)
    assert all(spec_versions(ctx)[name] > version for name, version in before.items())
    with ctx.db.write() as session:
        session.get_one(Machine, made.id).state = State.READY.value
    assert not naming.spread(ctx), "its state is nobody else's business"


def test_a_garage_of_one_node_or_of_very_many_tells_nobody(ctx: Context, alice: Caller) -> None:
    machines_before = spec_versions(ctx)
    assert not naming.spread(ctx)
    assert naming.versions(ctx) == {}
    fleet.add_machines(ctx, 1, fleet.add_nodes(ctx, naming.NAMED_NODES))
    assert not naming.spread(ctx)
    assert naming.versions(ctx) == {}
    assert names(ctx, ctx.config.node) == (set(), set())
    assert spec_versions(ctx)[ctx.config.node] == machines_before[ctx.config.node]


def test_the_worker_looks_once_a_second_and_only_at_versions_while_nothing_changes(
    ctx: Context, pair: list[str]
) -> None:
    clock = Monotonic()
    teller = NameTeller(ctx, clock)
    teller.turn()
    first = spec_versions(ctx)
    fleet.add_machines(ctx, 1, pair)
    teller.turn()
    told = spec_versions(ctx)
    assert told[ctx.config.node] == first[ctx.config.node], "not yet"
    clock.now += EVERY
    teller.turn()
    assert spec_versions(ctx)[ctx.config.node] == first[ctx.config.node] + 1
