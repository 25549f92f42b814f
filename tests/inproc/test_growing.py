"""Machines that grow while they run; by the services and by the worker on the fake hypervisor."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from garage.core.hypervisor_types import Domain, Power, Shape
from garage.core.plan import AGENT_START
from garage.db.models import Image, Machine, Node
from garage.errors import GarageError
from garage.services import drains, machines, projects, remaking, work
from garage.services.context import Caller, Context
from garage.services.growing import Grown
from garage.services.machines import NewMachine
from garage.services.views import MachineView
from garage.shell.fake_settings import Faults
from tests.conftest import Clock
from tests.inproc.deaths import Deaths
from tests.inproc.rig import NODE, Rig, rigged
from tests.inproc.test_volumes import ready

TINY, SMALL, MEDIUM = Shape(1, 512, 5), Shape(2, 2048, 10), Shape(4, 4096, 20)


@pytest.fixture
def rig(ctx: Context, clock: Clock, alice: Caller) -> Iterator[Rig]:
    with rigged(ctx, clock, alice) as made:
        yield made


def tiny(rig: Rig) -> str:
    ref = machines.create(rig.ctx, rig.caller, NewMachine(name="one", size="tiny")).id
    rig.netd()
    rig.until(ref, "preparing", "booting", "ready")
    return ref


def view(rig: Rig) -> MachineView:
    return machines.get(rig.ctx, rig.caller, "one")


def shape(of: MachineView | Machine) -> Shape:
    return Shape(of.vcpus, of.memory_mib, of.disk_gib)


def asked(rig: Rig, size: str = "small") -> MachineView:
    return remaking.resize(rig.ctx, rig.caller, "one", size)


def done(rig: Rig) -> MachineView:
    rig.until_true(lambda: not view(rig).growing)
    return view(rig)


def code(found: MachineView) -> str:
    return found.resize_error["code"] if found.resize_error else ""


def test_one_that_runs_grows_and_keeps_that_when_it_starts_again(rig: Rig) -> None:
    ref, since = tiny(rig), len(rig.fake.calls)
    found = asked(rig)
    assert (found.size, found.growing, shape(found)) == ("small", True, SMALL), "counted at once"
    assert rig.fake.shape(ref) == TINY
    found = done(rig)
    assert (found.state, found.resize_error, shape(found), rig.fake.shape(ref)) == ("ready", None, SMALL, SMALL)
    assert [call for call, _ in rig.fake.calls[since:]] == ["grow live", "execute"]
    asked(rig, "medium")
    assert shape(done(rig)) == rig.fake.shape(ref) == MEDIUM
    assert not asked(rig, "medium").growing, "it has that"
    machines.reboot(rig.ctx, rig.caller, ref)
    rig.until(ref, "stopping", "stopped", "booting", "ready")
    assert rig.fake.shape(ref) == MEDIUM
    assert rig.audits("machine.resize", "machine.resize_failed") == ["machine.resize"] * 3


@pytest.mark.parametrize(
    ("faults", "has"),
    [(Faults(vcpus_refused=True), TINY), (Faults(memory_refused=True), Shape(2, 512, 5))],
    ids=["nothing of it", "a part"],
)
def test_what_is_refused_is_told_and_the_row_says_what_the_guest_has(rig: Rig, faults: Faults, has: Shape) -> None:
    ref = tiny(rig)
    rig.fake.faults = faults
    asked(rig)
    found = done(rig)
    assert (found.size, shape(found), rig.fake.shape(ref), code(found)) == ("tiny", has, has, "hypervisor_error")
    assert rig.audits("machine.resize", "machine.resize_failed") == ["machine.resize", "machine.resize_failed"]
    rig.fake.faults = Faults()
    assert asked(rig).resize_error is None
    assert shape(done(rig)) == rig.fake.shape(ref) == SMALL


def test_a_guest_that_cannot_be_told_is_waited_for_and_then_said_to_need_a_restart(rig: Rig) -> None:
    ref = tiny(rig)
    rig.fake.faults = Faults(agent_away=True)
    asked(rig)
    rig.settle()
    assert (view(rig).growing, code(view(rig))) == (True, ""), "its agent may still be starting"
    rig.pass_time(AGENT_START)
    found = done(rig)
    assert (found.size, rig.fake.shape(ref), code(found)) == ("small", SMALL, "unavailable")


def test_it_waits_for_a_node_that_does_not_answer(rig: Rig) -> None:
    ref = tiny(rig)
    rig.fake.faults = Faults(away=True)
    asked(rig)
    rig.settle()
    assert view(rig).growing
    rig.fake.faults = Faults()
    rig.pass_time(30)
    assert done(rig).resize_error is None
    assert rig.fake.shape(ref) == SMALL


def test_one_that_goes_off_before_it_has_grown_has_it_from_its_next_start_on(rig: Rig) -> None:
    ref = tiny(rig)
    asked(rig)
    rig.fake.happen(ref, Domain(Power.OFF))
    machines.stop(rig.ctx, rig.caller, ref)
    rig.until(ref, "stopping", "stopped")
    assert (view(rig).growing, rig.row(ref).redo) == (False, "size")
    machines.start(rig.ctx, rig.caller, ref)
    rig.until(ref, "booting", "ready")
    assert rig.fake.shape(ref) == shape(view(rig)) == SMALL


def test_killed_anywhere_it_grows_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    deaths, ref = Deaths(monkeypatch), tiny(rig)
    rig.fake.settings.memory_mib = 65536
    rig.settle()
    for point in itertools.count(1):
        deaths.order(point)
        asked(rig, ("small", "medium", "large")[point - 1] if point < 4 else "large")
        rig.until_true(lambda: deaths.dead or not view(rig).growing)
        died = deaths.dead
        if died:
            rig.abandon()
            if rig.fake.look(ref) == Domain(Power.RUNNING):
                rig.fake.happen(ref, Domain(Power.PAUSED))  # as libvirt's may be left
        deaths.order(0)
        if died:
            rig.begin()
        assert done(rig).resize_error is None
        assert rig.fake.shape(ref) == shape(view(rig))
        assert rig.fake.look(ref) == Domain(Power.RUNNING)
        if not died:
            break
    assert point > 3, "it is several steps"


def test_an_old_workers_word_counts_no_more(rig: Rig) -> None:
    ref = tiny(rig)
    late = Grown(ref, TINY, TINY)
    assert work.record(rig.ctx, rig.hold, [late]) == [False]
    asked(rig)
    assert work.record(rig.ctx, rig.hold, [late]) == [False]
    assert view(rig).growing


# --- what may be asked ----------------------------------------------------------------------------------------------------


def refused(code: str, ctx: Context, who: Caller, size: str) -> GarageError:
    before = machines.get(ctx, who, "one")
    with pytest.raises(GarageError) as found:
        remaking.resize(ctx, who, "one", size)
    assert (found.value.code, bool(found.value.hint)) == (code, True), found.value
    assert machines.get(ctx, who, "one") == before, "nothing changed"
    return found.value


def changed(ctx: Context, ref: str, **values: object) -> None:
    with ctx.db.write() as session:
        for name, value in values.items():
            setattr(session.get_one(Machine, ref), name, value)


def test_it_becomes_smaller_only_while_it_is_off(ctx: Context, alice: Caller) -> None:
    ready(ctx, alice)
    remaking.resize(ctx, alice, "one", "medium")
    assert "growing already" in str(refused("wrong_state", ctx, alice, "large"))
    changed(ctx, machines.get(ctx, alice, "one").id, grown_from=None)
    assert "smaller only while it is off" in str(refused("wrong_state", ctx, alice, "small"))


def test_one_that_was_started_without_room_is_to_be_stopped_first(ctx: Context, alice: Caller) -> None:
    ref = ready(ctx, alice)
    with ctx.db.read() as session:
        row = session.get_one(Machine, ref)
        assert (row.most_vcpus, row.most_memory_mib) == (8, 16384), "as the largest size, and its node, have it"
    changed(ctx, ref, most_vcpus=0, most_memory_mib=0)  # as a garage of an earlier version left it
    error = refused("wrong_state", ctx, alice, "small")
    assert error.hint == "stop it first: garage machine stop {name}"
    changed(ctx, ref, most_vcpus=8, memory_mib=500, most_memory_mib=16384)
    assert "steps of" in str(refused("wrong_state", ctx, alice, "small"))


def test_the_memory_of_one_with_its_own_loader_changes_only_while_it_is_off(ctx: Context, alice: Caller) -> None:
    ref = ready(ctx, alice)
    with ctx.db.write() as session:
        image = session.get_one(Image, session.get_one(Machine, ref).image_id)
        image.manifest = {**image.manifest, "boot": "uefi"}
    assert "image that was brought" in str(refused("wrong_state", ctx, alice, "small"))
    changed(ctx, ref, memory_mib=2048)
    assert remaking.resize(ctx, alice, "one", "small").growing, "vCPUs and disk"


def test_quota_and_node_are_asked_as_for_a_new_one(ctx: Context, admin: Caller, alice: Caller) -> None:
    ready(ctx, alice)
    projects.set_quota(ctx, admin, "alice", {"memory_mib": 1024})
    refused("quota_exceeded", ctx, alice, "small")
    projects.set_quota(ctx, admin, "alice", {"memory_mib": 1 << 20, "vcpus": 100, "disk_gib": 1000})
    with ctx.db.write() as session:
        node = session.get_one(Node, NODE)
        node.facts = {**node.facts, "memory_mib": 4096}
    refused("no_capacity", ctx, alice, "medium")


def test_a_drain_waits_until_it_has_grown(ctx: Context, admin: Caller, alice: Caller) -> None:
    ready(ctx, alice)
    with ctx.db.write() as session:
        session.add(Node(name="node2", hypervisor="fake://2", facts=session.get_one(Node, NODE).facts))
    before = drains.preview(ctx, admin, NODE).machines[0]
    remaking.resize(ctx, alice, "one", "small")
    after = drains.preview(ctx, admin, NODE).machines[0]
    assert (before.way, after.way) == ("live", "waits")
