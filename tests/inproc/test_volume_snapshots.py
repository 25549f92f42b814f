"""Snapshots of volumes: made, returned to, deleted; by the services and by the worker on the fake hypervisor."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import select

from garage.core.snapshots import LIMIT, How
from garage.core.states import Event
from garage.db import loads
from garage.db.models import Machine
from garage.db.node_models import NodeLoad
from garage.db.volume_models import Volume, VolumeSnapshot
from garage.services import machines, offboarding, projects, remaking, volume_rules, volumes, work
from garage.services import volume_snapshots as kept
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from garage.services.volume_snapshot_notes import VolumeCopied, VolumeReverted
from garage.services.volume_snapshots import VolumeSnapshotView
from garage.services.volumes import NewVolume
from garage.shell.fake_settings import Faults
from tests.conftest import Clock
from tests.inproc.deaths import Deaths
from tests.inproc.rig import Rig, rigged
from tests.inproc.served import play
from tests.inproc.test_volumes import gone, held, made, ready, refused, stopped, until, view


@pytest.fixture
def rig(ctx: Context, clock: Clock, alice: Caller) -> Iterator[Rig]:
    with rigged(ctx, clock, alice) as made:
        yield made


def found(rig: Rig, name: str = "before", ref: str = "data") -> VolumeSnapshotView:
    return kept.get(rig.ctx, rig.caller, ref, name)


def taken(rig: Rig, name: str = "before") -> VolumeSnapshotView:
    kept.create(rig.ctx, rig.caller, "data", name)
    rig.until_true(lambda: found(rig, name).state != "making")
    return found(rig, name)


def names(rig: Rig) -> list[str]:
    return [each.name for each in kept.listing(rig.ctx, rig.caller, "data")]


def holds(rig: Rig) -> dict[str, object]:
    """What is on the volume; a guest, played by a test, writes it."""
    return rig.fake.volumes[view(rig).id]


# --- a whole life ---------------------------------------------------------------------------------------------------------


def test_one_that_no_machine_has_is_kept_and_returned_to_and_keeps_its_size(rig: Rig) -> None:
    made(rig)
    holds(rig)["holds"] = "old"
    first = taken(rig)
    assert (first.state, first.bytes, first.size_gib, first.held_gib) == ("ready", (1 << 30) + 1, 2, 2)
    assert first.actions == ["revert", "delete"]
    holds(rig)["holds"] = "new"
    volumes.grow(rig.ctx, rig.caller, "data", 3)
    rig.until_true(lambda: view(rig).made_gib == 3)
    assert kept.revert(rig.ctx, rig.caller, "data", "before").reverting
    until(rig, "available")
    assert (holds(rig)["holds"], holds(rig)["gib"], found(rig).reverting) == ("old", 3, False)
    kept.delete(rig.ctx, rig.caller, "data", "before")
    rig.until_true(lambda: names(rig) == [])
    assert holds(rig)["kept"] == {}
    taken(rig, "more")
    volumes.delete(rig.ctx, rig.caller, "data")
    rig.until_true(lambda: gone(rig))
    assert rig.fake.volumes == {}
    with rig.ctx.db.read() as session:
        assert session.scalars(select(VolumeSnapshot)).all() == []
    actions = ["volume.snapshot", "volume.revert", "volume.snapshot_delete", "volume.snapshot"]
    assert rig.audits(*actions) == actions


def test_a_machine_that_is_off_starts_when_its_volumes_are_copied_or_what_they_were(rig: Rig) -> None:
    ref = rig.ready()
    made(rig, machine="one")
    machines.stop(rig.ctx, rig.caller, ref)
    refused("in_use", lambda: kept.create(rig.ctx, rig.caller, "data", "before"))
    rig.until(ref, "stopping", "stopped")
    holds(rig)["holds"] = "old"
    since = len(rig.fake.calls)
    kept.create(rig.ctx, rig.caller, "data", "before")
    machines.start(rig.ctx, rig.caller, ref)
    rig.until(ref, "booting", "ready")
    done = [call for call, _ in rig.fake.calls[since:]]
    assert done.index("copy volume") < done.index("define"), done
    holds(rig)["holds"] = "new"
    assert (found(rig).state, found(rig).actions) == ("ready", ["delete"])
    refused("in_use", lambda: kept.revert(rig.ctx, rig.caller, "data", "before"))
    stopped(rig, ref)
    since = len(rig.fake.calls)
    kept.revert(rig.ctx, rig.caller, "data", "before")
    remaking.rebuild(rig.ctx, rig.caller, ref)
    rig.until(ref, "preparing", "booting", "ready")
    done = [call for call, _ in rig.fake.calls[since:]]
    assert done.index("restore volume") < done.index("define"), done
    assert (holds(rig)["holds"], view(rig).state) == ("old", "attached")
    assert rig.fake.volumes_of(ref) == (view(rig).id,)


def test_of_a_guest_that_runs_its_qemu_makes_the_copy_and_its_file_systems_stand_still(rig: Rig) -> None:
    ref = rig.ready()
    made(rig, machine="one")
    assert "snapshot" in view(rig).actions
    holds(rig)["holds"] = "old"
    since = len(rig.fake.calls)
    first = taken(rig)
    assert (first.state, first.how, first.error) == ("ready", "frozen", None)
    done = [call for call, _ in rig.fake.calls[since:]]
    assert done[done.index("freeze") :] == ["freeze", "copy", "thaw", "keep volume"]
    holds(rig)["holds"] = "new"
    assert holds(rig)["kept"] == {first.id: "old"}
    rig.fake.faults = Faults(agent_away=True)
    rig.pass_time(121)
    failed = taken(rig, "unheard")
    assert (failed.state, failed.error and failed.error["code"]) == ("failed", "unavailable")
    kept.create(rig.ctx, rig.caller, "data", "crash", crash_consistent=True)
    rig.until_true(lambda: found(rig, "crash").state == "ready")
    assert (found(rig, "crash").how, holds(rig)["kept"][found(rig, "crash").id]) == ("crash", "new")  # type: ignore[index]
    assert (rig.row(ref).state, set(holds(rig)["kept"])) == ("ready", {first.id, found(rig, "crash").id})  # type: ignore[call-overload]


def test_who_asks_for_a_stop_does_not_wait_for_a_copy(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = rig.ready()
    made(rig, machine="one")
    holds(rig)["holds"] = "old"
    stop = iter([lambda: machines.stop(rig.ctx, rig.caller, ref)])
    real = type(rig.fake).copy_volume

    def copy(*args: object, **more: object) -> None:
        next(stop, lambda: None)()
        real(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(type(rig.fake), "copy_volume", copy)
    kept.create(rig.ctx, rig.caller, "data", "before")
    rig.until(ref, "ready", "stopping", "stopped")
    rig.until_true(lambda: found(rig).state == "ready")
    assert (found(rig).how, holds(rig)["kept"]) == ("off", {found(rig).id: "old"})


def test_a_machine_that_goes_leaves_its_volume_to_return_alone(rig: Rig) -> None:
    ref = rig.ready()
    made(rig, machine="one")
    stopped(rig, ref)
    holds(rig)["holds"] = "old"
    taken(rig)
    holds(rig)["holds"] = "new"
    kept.revert(rig.ctx, rig.caller, "data", "before")
    machines.delete(rig.ctx, rig.caller, ref)
    rig.until(ref, "deleting", "gone")
    assert (until(rig, "available").machine, holds(rig)["holds"]) == (None, "old")


# --- what goes wrong ------------------------------------------------------------------------------------------------------


def test_no_room_is_told_and_what_is_on_it_stays(rig: Rig) -> None:
    made(rig)
    holds(rig)["holds"] = "old"
    taken(rig)
    holds(rig)["holds"] = "new"
    rig.fake.faults = Faults(disk_full=True)
    failed = taken(rig, "more")
    assert (failed.state, failed.held_gib, failed.actions) == ("failed", 0, ["delete"])
    assert failed.error is not None
    kept.revert(rig.ctx, rig.caller, "data", "before")
    until(rig, "available")
    error = found(rig).error
    assert error is not None
    assert (error["code"], holds(rig)["holds"]) == ("disk_full", "new")
    assert rig.audits("volume.snapshot_failed") == ["volume.snapshot_failed"] * 2
    rig.fake.faults = Faults(away=True)
    assert kept.revert(rig.ctx, rig.caller, "data", "before").error is None
    rig.settle()
    assert view(rig).state == "reverting", "it waits for a node that does not answer"
    rig.fake.faults = Faults()
    rig.pass_time(30)
    until(rig, "available")
    assert holds(rig)["holds"] == "old"


def test_killed_anywhere_each_thing_is_done_once_and_nothing_is_lost(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    deaths = Deaths(monkeypatch)
    made(rig)
    for point in itertools.count(1):
        holds(rig)["holds"] = "old"
        died = survive(
            rig,
            deaths,
            point,
            lambda: kept.create(rig.ctx, rig.caller, "data", "before"),
            lambda: found(rig).state == "ready",
        )
        assert found(rig).how == "off"
        holds(rig)["holds"] = "new"
        died |= survive(
            rig,
            deaths,
            point,
            lambda: kept.revert(rig.ctx, rig.caller, "data", "before"),
            lambda: view(rig).state == "available",
        )
        assert holds(rig)["holds"] == "old"
        died |= survive(rig, deaths, point, lambda: dropped(rig), lambda: names(rig) == [])
        assert holds(rig)["kept"] == {}
        if not died:
            break
    assert point > 3, "each is several steps"


def test_killed_anywhere_while_a_guest_has_it_one_copy_is_made_and_nothing_stands_still(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaths = Deaths(monkeypatch)
    ref = rig.ready()
    made(rig, machine="one")
    holds(rig)["holds"] = "old"
    for point in itertools.count(1):
        died = survive(
            rig,
            deaths,
            point,
            lambda: kept.create(rig.ctx, rig.caller, "data", "before"),
            lambda: found(rig).state == "ready",
        )
        assert (found(rig).how, holds(rig)["kept"]) == ("frozen", {found(rig).id: "old"})
        died |= survive(rig, deaths, point, lambda: dropped(rig), lambda: names(rig) == [])
        assert (holds(rig)["kept"], rig.fake.frozen(ref), rig.row(ref).state) == ({}, False, "ready")
        if not died:
            break
    assert point > 5, "it is several steps"


def dropped(rig: Rig) -> None:
    kept.delete(rig.ctx, rig.caller, "data", "before")


def survive(rig: Rig, deaths: Deaths, point: int, act: Callable[[], object], true: Callable[[], bool]) -> bool:
    """Whether a worker died of it; then another takes over until `true`."""
    deaths.order(point)
    act()
    rig.until_true(lambda: deaths.dead or true())
    died = deaths.dead
    if died:
        rig.abandon()
    deaths.order(0)
    if died:
        rig.begin()
        rig.until_true(true)
    return died


def test_an_old_workers_word_counts_no_more(rig: Rig) -> None:
    volume = made(rig).id
    snapshot = taken(rig).id
    late = [
        VolumeCopied(volume, snapshot, 7, How.CRASH),
        VolumeReverted(volume, snapshot),
        VolumeCopied(volume, "0" * 20, 7, How.OFF),
    ]
    assert work.record(rig.ctx, rig.hold, late) == [False] * 3
    assert (found(rig).bytes > 7, found(rig).how) == (True, "off")


# --- who may what, and how much -------------------------------------------------------------------------------------------


def free(ctx: Context, who: Caller, gib: int = 4) -> str:
    """Without a worker."""
    return done(ctx, volumes.create(ctx, who, NewVolume("data", gib)).id)


def done(ctx: Context, ref: str) -> str:
    with ctx.db.write() as session:
        row = session.get_one(Volume, ref)
        row.state, row.made_gib = ("attached" if row.machine_id else "available"), row.size_gib
    return ref


def copied(ctx: Context, name: str, gib: int = 1) -> None:
    """As a worker would tell."""
    with ctx.db.write() as session:
        row = session.scalars(select(VolumeSnapshot).where(VolumeSnapshot.name == name)).one()
        row.state, row.bytes, row.held_gib, row.made_at = "ready", gib << 30, gib, 1.0


def test_it_counts_whole_while_it_is_made_then_what_it_takes_until_it_is_gone(ctx: Context, alice: Caller) -> None:
    def used() -> tuple[int, int]:
        with ctx.db.read() as session:
            assert loads.drift(session.connection()) == []
            on_node = session.scalars(select(NodeLoad.used_disk_gib)).one()
            return projects.get(ctx, alice, "alice").usage.used["disk_gib"], on_node

    ref = free(ctx, alice)
    kept.create(ctx, alice, ref, "before")
    assert used() == (8, 8)
    copied(ctx, "before")
    assert used() == (5, 5)
    kept.delete(ctx, alice, ref, "before")
    assert used() == (5, 5), "its file is still there"
    with ctx.db.write() as session:
        session.delete(session.scalars(select(VolumeSnapshot)).one())
    assert used() == (4, 4)
    volumes.grow(ctx, alice, ref, projects.get(ctx, alice, "alice").usage.quota["disk_gib"] - 1)
    done(ctx, ref)
    refused("quota_exceeded", lambda: kept.create(ctx, alice, ref, "large"))


def test_what_may_not_be_done_is_refused_and_says_what_helps(ctx: Context, alice: Caller, bob: Caller) -> None:
    machine, ref = ready(ctx, alice), free(ctx, alice, 1)
    assert kept.create(ctx, alice, ref).name.startswith("s-")
    kept.create(ctx, alice, ref, "before")
    for act in (
        lambda: volumes.attach(ctx, alice, ref, machine),
        lambda: volumes.grow(ctx, alice, ref, 2),
        lambda: machines.create(ctx, alice, NewMachine(name="two", size="tiny", volumes=(ref,))),
        lambda: kept.revert(ctx, alice, ref, "before"),
    ):
        assert "being made" in str(refused("wrong_state", act))
    refused("already_exists", lambda: kept.create(ctx, alice, ref, "before"))
    refused("not_found", lambda: kept.get(ctx, alice, ref, "never"))
    for act in (kept.get, kept.revert, kept.delete):
        refused("not_found", lambda act=act: act(ctx, bob, ref, "before"))  # type: ignore[misc]
    for each in kept.listing(ctx, alice, ref):
        copied(ctx, each.name)
    kept.delete(ctx, alice, ref, "before")
    refused("wrong_state", lambda: kept.revert(ctx, alice, ref, "before"))
    for number in range(LIMIT - 2):
        kept.create(ctx, alice, ref, f"s{number}")
        copied(ctx, f"s{number}")
    refused("quota_exceeded", lambda: kept.create(ctx, alice, ref, "more"))
    kept.revert(ctx, alice, ref, "s0")
    for act in (
        lambda: kept.delete(ctx, alice, ref, "s0"),
        lambda: kept.create(ctx, alice, ref, "more"),
        lambda: volumes.attach(ctx, alice, ref, machine),
        lambda: volumes.grow(ctx, alice, ref, 2),
    ):
        assert "reverting" in str(refused("wrong_state", act))


def test_returning_needs_room_for_both_copies(ctx: Context, alice: Caller) -> None:
    ref = free(ctx, alice)
    kept.create(ctx, alice, ref, "before")
    copied(ctx, "before")
    with ctx.db.write() as session:
        session.get_one(NodeLoad, ctx.config.node).disk_free_gib = 0.0
    refused("disk_full", lambda: kept.revert(ctx, alice, ref, "before"))
    with ctx.db.write() as session:
        session.get_one(NodeLoad, ctx.config.node).disk_free_gib = 100.0
    kept.revert(ctx, alice, ref, "before")


def test_they_go_with_the_project_the_node_and_a_machine_that_is_lost(
    ctx: Context, admin: Caller, alice: Caller, bob: Caller
) -> None:
    machine = ready(ctx, bob)
    theirs = held(ctx, bob, machine)
    done(ctx, theirs)
    play(ctx, machine, Event.STOP, Event.OFF)
    with ctx.db.write() as session:
        session.get_one(Machine, machine).wants_running = False
    kept.create(ctx, bob, theirs, "lost")
    with ctx.db.write() as session:
        session.get_one(Machine, machine).state = "lost"
    kept.delete(ctx, bob, theirs, "lost")
    assert kept.listing(ctx, bob, theirs) == []
    ref = free(ctx, alice)
    kept.create(ctx, alice, ref, "before")
    offboarding.offboard(ctx, admin, "alice")
    assert volumes.get(ctx, admin, ref).state == "deleting"
    with ctx.db.write() as session:
        volume_rules.forget_node(session, ctx.config.node)
        assert session.scalars(select(VolumeSnapshot)).all() == []
