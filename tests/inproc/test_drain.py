"""A node is emptied: on fake hypervisors, with a worker per node whose turns are taken by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from garage.core.hypervisor_types import Domain, Power
from garage.db.models import Project
from garage.db.node_models import Leftover
from garage.errors import GarageError
from garage.services import capacity, drains, events, machines, nodes
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from garage.worker.loop import AWAY_RETRY
from tests.conftest import Clock
from tests.inproc.nodes_rig import Nodes, nodes_rigged


@pytest.fixture
def two(ctx: Context, clock: Clock, alice: Caller) -> Iterator[Nodes]:
    with nodes_rigged(ctx, clock, alice) as made:
        yield made


def test_machines_move_one_at_a_time_and_nothing_is_lost(two: Nodes, admin: Caller) -> None:
    refs = [two.ready(f"m{number}") for number in range(4)]
    source = two.row(refs[0]).node
    here = [ref for ref in refs if two.row(ref).node == source]
    drains.drain(two.ctx, admin, source)
    most = 0
    while two.node(source).state != "maintenance":
        two.turn()
        most = max(most, sum(two.row(ref).moving_to is not None for ref in refs))
    two.empty(source)
    assert most == 1
    assert two.node(source).state == "maintenance"
    for ref in refs:
        assert two.row(ref).state == "ready"
        assert two.where(ref) == [two.row(ref).node] != [source]
        fake = two.servers[two.row(ref).node].fake
        assert fake.look(ref) == Domain(Power.RUNNING)
        assert "work" in fake.files[ref]
    assert [(move.machine_id, move.way, move.error) for move in two.moves()] == [(ref, "live", None) for ref in here]
    assert all(move.pause_ms for move in two.moves())


def test_what_is_refused_is_named_tried_again_and_left_as_the_admin_wishes(two: Nodes, admin: Caller) -> None:
    ref = two.ready("m")
    source = two.row(ref).node
    fake = two.servers[source].fake
    fake.faults.migration_refused = "the disk is busy"
    drains.drain(two.ctx, admin, source)
    two.settle(15)
    (machine,) = drains.preview(two.ctx, admin, source).machines
    assert machine.reason is not None
    assert machine.reason["params"] == {"reason": "the disk is busy"}
    assert (two.row(ref).node, two.row(ref).state, two.where(ref)) == (source, "ready", [source])
    assert len(two.moves()) == 1, "not again at once"
    two.pass_time(61)
    two.settle(15)
    assert len(two.moves()) == 2, "but after a while"
    fake.faults.migration_refused = ""
    drains.activate(two.ctx, admin, source)
    two.pass_time(61)
    two.settle(10)
    assert len(two.moves()) == 2, "it is left where it is"
    drains.drain(two.ctx, admin, source)
    drains.drain(two.ctx, admin, source)
    two.empty(source)
    assert two.row(ref).node != source


def test_a_target_that_cannot_prepare_is_a_reason_and_leaves_nothing(two: Nodes, admin: Caller) -> None:
    ref = two.ready("m")
    source = two.row(ref).node
    (target,) = {*two.servers} - {source}
    two.servers[target].fake.faults.disk_full = True
    drains.drain(two.ctx, admin, source)
    two.settle(15)
    (move,) = two.moves()
    assert move.error is not None
    assert move.error["code"] == "disk_full"
    assert two.where(ref) == [source]
    assert two.row(ref).state == "ready"


def test_a_target_that_falls_silent_is_a_reason_and_another_is_taken(
    ctx: Context, clock: Clock, alice: Caller, admin: Caller
) -> None:
    with nodes_rigged(ctx, clock, alice, ("node1", "node2", "node3")) as three:
        ref = three.ready("m")
        source = three.row(ref).node
        drains.drain(ctx, admin, source)
        while (target := three.row(ref).moving_to) is None:
            loop = three.servers[source].loop
            assert loop
            loop.changed()
            loop.turn()
        three.servers[target].fake.faults.away = True
        three.deaf.add(target)
        three.wait(15)
        move = three.moves()[0]
        assert move.error is not None
        assert move.error["params"] == {"node": target}
        three.pass_time(61)
        three.until_at(ref, ({*three.servers} - {source, target}).pop())
        three.servers[target].fake.faults.away = False
        three.deaf.clear()
        three.pass_time(AWAY_RETRY)
        three.empty(source)
        assert three.where(ref) == [three.row(ref).node]


def test_no_room_and_only_one_node(two: Nodes, admin: Caller) -> None:
    ref = two.ready("m")
    source = two.row(ref).node
    (target,) = {*two.servers} - {source}
    drains.maintain(two.ctx, admin, target)
    drains.drain(two.ctx, admin, source)
    two.settle(8)
    (machine,) = drains.preview(two.ctx, admin, source).machines
    assert machine.way == "stays"
    assert two.node(source).state == "draining", "it runs, so the node is not empty"
    with pytest.raises(GarageError, match="no server takes machines"):
        machines.create(two.ctx, two.caller, NewMachine(name="other"))
    machines.stop(two.ctx, two.caller, ref)
    two.until(ref, "stopped")
    two.settle(5)
    assert two.node(source).state == "maintenance", "what is off and cannot move is left, and named"
    assert [one.way for one in drains.preview(two.ctx, admin, source).machines] == ["stays"]
    drains.activate(two.ctx, admin, target)
    drains.drain(two.ctx, admin, source)
    two.empty(source)
    assert two.where(ref) == [target]


def test_a_machine_that_boots_moves_when_it_is_ready(two: Nodes, admin: Caller) -> None:
    for server in two.servers.values():
        server.fake.faults.mute = True
    ref = machines.create(two.ctx, two.caller, NewMachine(name="m", size="tiny")).id
    two.until(ref, "booting")
    source = two.row(ref).node
    drains.drain(two.ctx, admin, source)
    two.settle(8)
    (machine,) = drains.preview(two.ctx, admin, source).machines
    assert machine.way == "waits"
    assert two.row(ref).node == source
    for server in two.servers.values():
        server.fake.faults.mute = False
    two.empty(source)
    assert (two.row(ref).state, two.where(ref) == [source]) == ("ready", False)


@pytest.mark.parametrize("action", ["stop", "reboot", "delete"])
def test_what_an_owner_asks_for_while_it_moves_comes_first_or_next(two: Nodes, admin: Caller, action: str) -> None:
    ref = two.ready("m")
    source = two.row(ref).node
    drains.drain(two.ctx, admin, source)
    while two.row(ref).moving_to is None:
        two.turn()
    getattr(machines, action)(two.ctx, two.caller, ref)
    two.until(ref, {"stop": "stopped", "reboot": "booting", "delete": "gone"}[action])
    two.pass_time(11)
    two.empty(source)
    assert two.where(ref) == ([] if action == "delete" else [two.row(ref).node])
    assert two.row(ref).moving_to is None


def test_owners_are_told_and_only_admins_may(two: Nodes, admin: Caller) -> None:
    ref = two.ready("m")
    source = two.row(ref).node
    before = events.latest(two.ctx)
    drains.drain(two.ctx, admin, source)
    view = machines.get(two.ctx, two.caller, ref)
    assert (view.node_state, view.moving_to) == ("draining", "")
    told = [(event.kind, event.subject) for event in events.after(two.ctx, two.caller, before)]
    assert told == [("node", source), ("machine", ref)]
    for act in (drains.preview, drains.drain, drains.activate, drains.maintain):
        with pytest.raises(GarageError, match="only an operator of home"):
            act(two.ctx, two.caller, source)
        with pytest.raises(GarageError, match="no node nowhere"):
            act(two.ctx, admin, "nowhere")


def test_a_moving_machine_counts_once_in_the_quota_and_on_both_nodes(two: Nodes, admin: Caller) -> None:
    ref = two.ready("m")
    source = two.row(ref).node
    used = {view.name: view.free_memory_mib for view in nodes.listing(two.ctx, admin)}
    drains.drain(two.ctx, admin, source)
    while two.row(ref).moving_to is None:
        two.turn()
    with two.ctx.db.read() as session:
        project = session.get_one(Project, two.row(ref).project_id)
        assert capacity.usage(session, project).used["machines"] == 1
    (target,) = {*two.servers} - {source}
    free = {view.name: view.free_memory_mib for view in nodes.listing(two.ctx, admin)}
    assert used[target] - free[target] == 512
    specs = {name: two.spec(name).machines for name in two.servers}
    assert [(machine.id, machine.arriving) for machine in specs[source]] == [(ref, False)]
    assert [(machine.id, machine.arriving) for machine in specs[target]] == [(ref, True)]
    two.empty(source)
    assert [(machine.id, machine.arriving) for machine in two.spec(target).machines] == [(ref, False)]
    assert two.spec(source).machines == ()


def test_taps_and_macs_are_no_other_nodes(two: Nodes) -> None:
    refs = [two.ready(f"m{number}") for number in range(4)]
    assert len({two.row(ref).node for ref in refs}) == 2
    assert len({two.row(ref).tap for ref in refs}) == len({two.row(ref).mac for ref in refs}) == 4


def test_a_guest_that_runs_is_never_removed_as_a_leftover(two: Nodes, admin: Caller) -> None:
    ref = two.ready("m")
    source = two.row(ref).node
    drains.drain(two.ctx, admin, source)
    two.empty(source)
    (target,) = {*two.servers} - {source}
    with two.ctx.db.write() as session:
        session.merge(Leftover(node=source, machine_id=ref))
    two.servers[source].fake.receive(ref, replace(two.servers[target].fake._guests[ref]), frozenset({"disk"}))
    two.settle(5)
    assert two.servers[source].fake.look(ref) == Domain(Power.RUNNING)
    two.servers[source].fake.happen(ref, Domain(Power.OFF))
    two.pass_time(60)
    two.settle(8)
    assert two.where(ref) == [target]
