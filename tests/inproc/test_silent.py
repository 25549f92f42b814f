"""Nodes that do not answer: by both ways, by one, too many at once, and back again. Workers' turns and clocks are moved by hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from garage.core.hypervisor_types import Domain, Power
from garage.errors import GarageError
from garage.services import drains, machines, nodes
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from tests.conftest import Clock
from tests.inproc.nodes_rig import Nodes, nodes_rigged

HOUR = 3600.0


@pytest.fixture
def six(ctx: Context, clock: Clock, alice: Caller) -> Iterator[Nodes]:
    """Six nodes: two of them are more than a fifth."""
    with nodes_rigged(ctx, clock, alice, tuple(f"node{number}" for number in range(1, 7))) as made:
        made.wait(2)
        yield made


def cut(rig: Nodes, *names: str) -> None:
    """Neither way reaches them; their guests run on."""
    for name in names:
        rig.servers[name].fake.faults.away = True
        rig.deaf.add(name)


def mend(rig: Nodes, *names: str) -> None:
    for name in names:
        rig.servers[name].fake.faults.away = False
        rig.deaf.discard(name)


def test_a_silent_node_is_noticed_within_15_s_and_found_again(six: Nodes, admin: Caller) -> None:
    ref = six.ready("one")
    node = six.row(ref).node
    cut(six, node)
    six.wait(10)
    assert six.node(node).silent_since is None, "not before two reports were missed"
    six.wait(5)
    assert six.node(node).silent_since is not None, "within 15 s"
    assert six.row(ref).state == "unreachable"
    shown = {view.name: view for view in nodes.listing(six.ctx, admin)}
    assert (shown[node].silence, shown[node].silent_since) == ("both", six.node(node).silent_since)
    assert {view.silence for name, view in shown.items() if name != node} == {""}
    other = machines.create(six.ctx, six.caller, NewMachine(name="two", size="tiny"))
    assert other.node != node
    mend(six, node)
    six.wait(3)
    six.until(ref, "ready")
    assert six.node(node).silent_since is None
    calls = [call for call, machine in six.servers[node].fake.calls if machine == ref]
    assert calls.count("start") == 1, "nothing is started twice"
    assert "destroy" not in calls


def test_what_happened_meanwhile_is_found(six: Nodes) -> None:
    ran, died = six.ready("ran"), six.ready("died")
    names = {six.row(ref).node for ref in (ran, died)}
    for name in sorted(names):
        cut(six, name)
        six.wait(16)
        assert six.row(ran if name == six.row(ran).node else died).state == "unreachable"
        if name == six.row(died).node:
            guests = six.servers[name].fake
            guests.happen(died, Domain(Power.OFF))
        mend(six, name)
        six.wait(3)
    six.until(ran, "ready")
    six.until(died, "ready")
    starts = {
        ref: sum(call == ("start", ref) for s in six.servers.values() for call in s.fake.calls) for ref in (ran, died)
    }
    assert starts == {ran: 1, died: 2}


@pytest.mark.parametrize("way", ["hypervisor", "netd"])
def test_one_way_alone_is_shown_and_changes_no_machine(six: Nodes, admin: Caller, way: str) -> None:
    ref = six.ready("one")
    node = six.row(ref).node
    if way == "netd":
        six.deaf.add(node)
    else:
        six.servers[node].fake.faults.away = True
    six.wait(20)
    assert six.row(ref).state == "ready"
    assert six.node(node).silent_since is None
    assert next(view for view in nodes.listing(six.ctx, admin) if view.name == node).silence == way


def test_when_many_are_silent_the_fault_is_ours(six: Nodes, admin: Caller) -> None:
    ref = six.ready("one")
    node = six.row(ref).node
    others = [name for name in six.servers if name != node]
    drains.drain(six.ctx, admin, others[-1])
    cut(six, node, others[0])
    six.wait(20)
    assert six.node(node).silent_since is not None, "it is silent, and that is shown"
    assert six.row(ref).state == "ready", "but nothing is declared"
    assert drains.preview(six.ctx, admin, node).ours
    mend(six, others[0])
    six.wait(4)
    assert six.row(ref).state == "unreachable", "now it is this one's own"


def test_nothing_is_moved_while_the_fault_is_ours(six: Nodes, admin: Caller) -> None:
    ref = six.ready("one")
    node = six.row(ref).node
    away = [name for name in six.servers if name != node][:2]
    cut(six, *away)
    six.wait(16)
    drains.drain(six.ctx, admin, node)
    six.wait(12)
    assert (six.row(ref).node, six.row(ref).moving_to) == (node, None)
    mend(six, *away)
    six.wait(12)
    assert six.row(ref).node != node


def test_a_clock_that_jumps_makes_no_node_silent(six: Nodes) -> None:
    ref = six.ready("one")
    for jump in (HOUR, -HOUR, 24 * HOUR):
        six.clock.now += jump
        six.wait(3)
        assert [name for name in six.servers if six.node(name).silent_since is not None] == []
        assert six.row(ref).state == "ready"


def test_a_clock_that_jumps_hides_no_silence(six: Nodes) -> None:
    ref = six.ready("one")
    cut(six, six.row(ref).node)
    six.wait(5)
    six.clock.now -= HOUR
    six.wait(11)
    assert six.row(ref).state == "unreachable"


def test_a_drained_node_that_is_switched_off_is_no_fault_of_ours(six: Nodes, admin: Caller) -> None:
    ref = six.ready("one")
    node = six.row(ref).node
    others = [name for name in six.servers if name != node]
    drains.maintain(six.ctx, admin, others[0])
    cut(six, others[0], node)
    six.wait(18)
    assert six.row(ref).state == "unreachable"
    with pytest.raises(GarageError, match=f"machines run on {node}: one"):
        drains.maintain(six.ctx, admin, node)
