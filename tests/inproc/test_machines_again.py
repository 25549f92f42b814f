"""Machines that there are: renamed, tagged, noted, rebuilt, resized; by the services and by the worker on the fake hypervisor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import select

from garage.core.states import Event
from garage.db.models import Audit, Machine, Node
from garage.errors import GarageError
from garage.services import describing, images, machines, nodes, projects, remaking
from garage.services.context import Caller, Context
from garage.services.filtering import Filter
from garage.services.machines import NewMachine
from garage.shell.fake_settings import Faults
from netd import wire
from tests.conftest import Clock
from tests.inproc.rig import Rig, rigged
from tests.inproc.served import play


@pytest.fixture
def rig(ctx: Context, clock: Clock, alice: Caller) -> Iterator[Rig]:
    with rigged(ctx, clock, alice) as made:
        yield made


def off(ctx: Context, who: Caller, name: str = "one", size: str = "tiny") -> str:
    made = machines.create(ctx, who, NewMachine(name=name, size=size))
    play(ctx, made.id, Event.STARTED, Event.ANSWERED, Event.STOP, Event.OFF)
    return made.id


# --- names, tags, notes ---------------------------------------------------------------------------------------------------


def test_a_new_name_is_its_name_everywhere(ctx: Context, alice: Caller) -> None:
    made = machines.create(ctx, alice, NewMachine(name="one", size="tiny"))
    with ctx.db.read() as session:
        version = session.get_one(Node, "node1").spec_version
    view = describing.describe(ctx, alice, "one", name="two")
    assert (view.id, view.name, view.fqdn) == (made.id, "two", "two.alice.home.garage.internal")
    assert machines.get(ctx, alice, "two").id == made.id
    with pytest.raises(GarageError, match="there is no machine one"):
        machines.get(ctx, alice, "one")
    sealed = nodes.sealed_spec(ctx, "node1", version)
    assert sealed is not None, "its node has news"
    spec = wire.unseal(sealed, ctx.controller_key.public_key(), node="node1")
    assert [machine.name for machine in spec.machines] == ["two"]
    with ctx.db.read() as session:
        entry = session.scalars(select(Audit).where(Audit.action == "machine.describe")).one()
        assert (entry.subject, entry.detail) == ("one.alice", {"name": "two"})


def test_a_name_that_is_taken_or_none_is_refused(ctx: Context, alice: Caller) -> None:
    machines.create(ctx, alice, NewMachine(name="one", size="tiny"))
    machines.create(ctx, alice, NewMachine(name="two", size="tiny"))
    for name, code in (("two", "already_exists"), ("Two", "invalid_field"), ("", "invalid_field")):
        with pytest.raises(GarageError) as caught:
            describing.describe(ctx, alice, "one", name=name, notes="not written either")
        assert (caught.value.code, caught.value.pointer) == (code, "/name")
    assert machines.get(ctx, alice, "one").notes == ""


def test_tags_and_notes_are_kept_and_found(ctx: Context, alice: Caller, bob: Caller) -> None:
    first = machines.create(ctx, alice, NewMachine(name="one", size="tiny", tags=["b", "a", "a"], notes=" mine\n"))
    assert (first.tags, first.notes) == (["a", "b"], "mine")
    machines.create_many(ctx, alice, NewMachine(name="many", size="tiny", tags=["a"]), 2)
    assert [v.name for v in machines.listing(ctx, alice, Filter(tag="a"), sort="name").items] == [
        "many-1",
        "many-2",
        "one",
    ]
    assert describing.in_use(ctx, alice) == [("a", 3), ("b", 1)]
    assert describing.in_use(ctx, bob) == []
    assert machines.listing(ctx, bob, Filter(tag="a")).items == []
    changed = describing.describe(ctx, alice, "one", tags_=["c"], notes="")
    assert (changed.tags, changed.notes) == (["c"], "")
    assert [v.name for v in machines.listing(ctx, alice, Filter(tag="b")).items] == []


@pytest.mark.parametrize("tags", [["A"], ["a b"], [""], ["-a"], ["x" * 33], [f"t{n}" for n in range(17)]])
def test_what_is_no_tag_is_refused(ctx: Context, alice: Caller, tags: list[str]) -> None:
    machines.create(ctx, alice, NewMachine(name="one", size="tiny"))
    with pytest.raises(GarageError) as caught:
        describing.describe(ctx, alice, "one", tags_=tags)
    assert (caught.value.code, caught.value.pointer) == ("invalid_field", "/tags")


@pytest.mark.parametrize("notes", ["\x1b[31m", "a\u202eb", "x" * 2001, "\u200b"])
def test_notes_hold_nothing_that_changes_how_the_rest_looks(ctx: Context, alice: Caller, notes: str) -> None:
    machines.create(ctx, alice, NewMachine(name="one", size="tiny"))
    with pytest.raises(GarageError) as caught:
        describing.describe(ctx, alice, "one", notes=notes)
    assert caught.value.pointer == "/notes"


def test_nothing_changes_what_is_being_deleted_or_anothers(ctx: Context, alice: Caller, bob: Caller) -> None:
    machines.create(ctx, alice, NewMachine(name="one", size="tiny"))
    for act in (
        lambda who: describing.describe(ctx, who, "one", notes="x"),
        lambda who: remaking.rebuild(ctx, who, "one"),
        lambda who: remaking.resize(ctx, who, "one", "small"),
    ):
        with pytest.raises(GarageError) as caught:
            act(bob)
        assert caught.value.code == "not_found"
    machines.delete(ctx, alice, "one")
    with pytest.raises(GarageError) as caught:
        describing.describe(ctx, alice, "one", notes="x")
    assert caught.value.code == "wrong_state"


# --- rebuild ------------------------------------------------------------------------------------------------------------------


def test_a_rebuilt_machine_is_the_same_one_on_a_new_disk(rig: Rig) -> None:
    ref = rig.ready()
    before, calls = rig.row(ref), len(rig.fake.calls)
    images.register(rig.ctx, "debian-12", "cd" * 32, {"name": "debian-12", "cmdline": "root=LABEL=root"})
    view = remaking.rebuild(rig.ctx, rig.caller, ref)
    assert (view.state, view.ready_at, view.actions) == ("preparing", None, ["delete", "renew"])
    rig.until(ref, "preparing", "booting", "ready")
    names = [call for call, machine in rig.fake.calls[calls:] if machine == ref]
    assert names == ["destroy", "remove", "disk", "seed", "define", "start"]
    after = rig.row(ref)
    same = (
        "id",
        "name",
        "ipv4",
        "ipv6",
        "mac",
        "tap",
        "host_key_public",
        "authorized_keys",
        "lease_until",
        "created_at",
    )
    assert all(getattr(after, field) == getattr(before, field) for field in same)
    assert after.image_id != before.image_id, "the newest of its name"
    assert (after.redo, after.cold_reason) == ("", "off")
    assert after.rebuilt_at is not None
    assert after.ready_at is not None
    assert rig.audits("machine.rebuild") == ["machine.rebuild"]


def test_a_worker_that_is_killed_between_any_two_effects_loses_nothing(rig: Rig) -> None:
    """The removal is done again, however often it was done without being recorded; the new disk comes once, after it."""
    ref = rig.ready()
    remaking.rebuild(rig.ctx, rig.caller, ref)
    rig.disks.remove(ref)
    rig.until(ref, "preparing", "booting", "ready")
    calls = [call for call, machine in rig.fake.calls if machine == ref]
    assert calls[-4:] == ["disk", "seed", "define", "start"]
    assert calls.count("disk") == 2


def test_a_machine_that_is_off_has_failed_or_starts_is_rebuilt(rig: Rig) -> None:
    ref = rig.ready()
    machines.stop(rig.ctx, rig.caller, ref)
    rig.until(ref, "stopping", "stopped")
    remaking.rebuild(rig.ctx, rig.caller, ref)
    rig.until(ref, "preparing", "booting", "ready")
    rig.fake.faults = Faults(start_refused="no")
    machines.reboot(rig.ctx, rig.caller, ref)
    rig.until(ref, "stopping", "stopped", "booting", "failed")
    rig.fake.faults = Faults()
    remaking.rebuild(rig.ctx, rig.caller, ref)
    rig.until(ref, "preparing", "booting", "ready")


def test_a_rebuild_that_fails_goes_on_where_it_was_when_it_is_started(rig: Rig) -> None:
    ref = rig.ready()
    rig.fake.faults = Faults(disk_full=True)
    remaking.rebuild(rig.ctx, rig.caller, ref)
    rig.until(ref, "preparing", "failed")
    assert rig.row(ref).error["code"] == "disk_full"  # type: ignore[index]
    rig.fake.faults = Faults()
    machines.start(rig.ctx, rig.caller, ref)
    rig.until(ref, "booting", "ready")


def test_what_cannot_be_rebuilt_says_why(ctx: Context, alice: Caller) -> None:
    made = machines.create(ctx, alice, NewMachine(name="one", size="tiny"))
    with pytest.raises(GarageError, match="is preparing"):
        remaking.rebuild(ctx, alice, "one")
    play(ctx, made.id, Event.STARTED, Event.ANSWERED)
    with pytest.raises(GarageError, match="no image nothing"):
        remaking.rebuild(ctx, alice, "one", image="nothing")
    with ctx.db.write() as session:
        session.get_one(Machine, made.id).lease_ended_at = ctx.clock()
    with pytest.raises(GarageError, match="lease of one has ended"):
        remaking.rebuild(ctx, alice, "one")


# --- resize -------------------------------------------------------------------------------------------------------------------


def test_a_resized_machine_starts_with_its_new_size_and_a_larger_disk(rig: Rig) -> None:
    ref = rig.ready()
    machines.stop(rig.ctx, rig.caller, ref)
    with pytest.raises(GarageError, match="while it is ready or off"):
        remaking.resize(rig.ctx, rig.caller, ref, "medium")
    rig.until(ref, "stopping", "stopped")
    calls = len(rig.fake.calls)
    view = remaking.resize(rig.ctx, rig.caller, ref, "medium")
    assert view.size == "medium"
    assert view.disk_gib > 10
    machines.start(rig.ctx, rig.caller, ref)
    rig.until(ref, "booting", "ready")
    assert [call for call, _ in rig.fake.calls[calls:]] == ["grow", "seed", "define", "start"]
    assert rig.row(ref).redo == ""


def test_a_disk_never_shrinks(ctx: Context, alice: Caller) -> None:
    ref = off(ctx, alice, size="small")
    before = machines.get(ctx, alice, ref)
    view = remaking.resize(ctx, alice, ref, "tiny")
    assert view.memory_mib < before.memory_mib
    assert view.disk_gib == before.disk_gib
    with ctx.db.read() as session:
        assert session.get_one(Machine, ref).redo == ""


def test_a_size_beyond_quota_or_node_is_refused_and_nothing_changes(ctx: Context, admin: Caller, alice: Caller) -> None:
    ref = off(ctx, alice)
    projects.set_quota(ctx, admin, "alice", {"memory_mib": 1024})
    with pytest.raises(GarageError) as caught:
        remaking.resize(ctx, alice, ref, "small")
    assert caught.value.code == "quota_exceeded"
    projects.set_quota(ctx, admin, "alice", {"memory_mib": 1 << 20, "vcpus": 100, "disk_gib": 1000})
    with ctx.db.write() as session:
        node = session.get_one(Node, "node1")
        node.facts = {**node.facts, "memory_mib": 2048}
    with pytest.raises(GarageError) as caught:
        remaking.resize(ctx, alice, ref, "large")
    assert caught.value.code == "no_capacity"
    assert machines.get(ctx, alice, ref).size == "tiny"


def test_a_machine_on_its_way_stays_as_it_is(ctx: Context, alice: Caller) -> None:
    ref = off(ctx, alice)
    with ctx.db.write() as session:
        session.add(Node(name="node2", hypervisor="fake://"))
        session.flush()
        session.get_one(Machine, ref).moving_to = "node2"
    for act in (lambda: remaking.rebuild(ctx, alice, ref), lambda: remaking.resize(ctx, alice, ref, "small")):
        with pytest.raises(GarageError, match="on its way to node2"):
            act()
    assert {"rebuild", "resize"} & set(machines.get(ctx, alice, ref).actions) == set()


def test_the_request_stays_with_what_it_asked_for(ctx: Context, alice: Caller) -> None:
    ref = off(ctx, alice)
    remaking.resize(replace(ctx, request="r-7"), alice, ref, "small")
    with ctx.db.read() as session:
        assert session.get_one(Machine, ref).request == "r-7"
