"""Snapshots: made while a machine runs or is off, returned to, deleted; by the services and by the worker on the fake hypervisor."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from garage.core.plan import AGENT_START
from garage.core.snapshots import LIMIT, How
from garage.core.states import Event
from garage.db.models import Image, Machine, Node
from garage.db.snapshot_models import Snapshot
from garage.errors import GarageError
from garage.services import drains, images, machines, projects, remaking, snapshots, work
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from garage.services.snapshot_notes import SnapshotMade
from garage.services.snapshots import SnapshotView
from garage.shell import fake_hypervisor
from garage.shell.fake_settings import Faults
from garage.worker.seeding import seed_files
from tests.conftest import Clock
from tests.inproc.deaths import Deaths
from tests.inproc.rig import Rig, rigged
from tests.inproc.served import play


@pytest.fixture
def rig(ctx: Context, clock: Clock, alice: Caller) -> Iterator[Rig]:
    with rigged(ctx, clock, alice) as made:
        yield made


def view(rig: Rig, ref: str, name: str = "before") -> SnapshotView:
    return snapshots.get(rig.ctx, rig.caller, ref, name)


def made(rig: Rig, ref: str, name: str = "before", **more: bool) -> SnapshotView:
    snapshots.create(rig.ctx, rig.caller, ref, name, **more)
    rig.until_true(lambda: view(rig, ref, name).state != "making")
    return view(rig, ref, name)


def stopped(rig: Rig, ref: str) -> None:
    machines.stop(rig.ctx, rig.caller, ref)
    rig.until(ref, "stopping", "stopped")


def returned(rig: Rig, ref: str, name: str = "before") -> None:
    assert snapshots.revert(rig.ctx, rig.caller, ref, name).reverting
    rig.until_true(lambda: not view(rig, ref, name).reverting)


def calls(rig: Rig, since: int) -> list[str]:
    return [call for call, _ in rig.fake.calls[since:]]


# --- a whole life ---------------------------------------------------------------------------------------------------------


def test_a_machine_that_runs_is_frozen_for_its_snapshot_and_returns_to_it(rig: Rig) -> None:
    ref = rig.ready()
    rig.fake.contents[ref] = "old"
    since = len(rig.fake.calls)
    before = made(rig, ref)
    assert calls(rig, since) == ["freeze", "copy", "thaw", "keep"]
    assert (before.state, before.how, before.image, before.owner) == ("ready", "frozen", "debian-12", "alice")
    assert (before.bytes, before.held_gib, before.disk_gib) == ((1 << 30) + 1, 2, 10)
    rig.fake.contents[ref] = "new"
    stopped(rig, ref)
    returned(rig, ref)
    assert rig.fake.contents[ref] == "old"
    assert rig.row(ref).state == "stopped", "whoever wants it to run starts it"
    assert not rig.row(ref).keys_applied, "who may log in is as old as the disk"
    machines.start(rig.ctx, rig.caller, ref)
    rig.until(ref, "booting", "ready")
    assert rig.fake.contents[ref] == "old"
    rig.until_true(lambda: rig.row(ref).keys_applied)
    snapshots.delete(rig.ctx, rig.caller, ref, "before")
    rig.until_true(lambda: not snapshots.listing(rig.ctx, rig.caller, ref))
    assert rig.fake.snapshots[ref] == {}
    actions = [f"snapshot.{what}" for what in ("create", "revert", "delete")]
    assert rig.audits(*actions) == actions


def test_of_a_machine_that_is_off_it_is_a_copy(rig: Rig) -> None:
    ref = rig.ready()
    stopped(rig, ref)
    since = len(rig.fake.calls)
    assert made(rig, ref).how == "off"
    assert calls(rig, since) == ["snapshot"]
    assert rig.row(ref).state == "stopped"


def test_what_it_says_of_itself_is_written_anew_after_each_return(rig: Rig) -> None:
    ref = rig.ready()
    made(rig, ref)
    stopped(rig, ref)
    seeds = [seed_files(rig.ctx, ref)["instance"]]
    for _ in range(2):
        rig.pass_time(1)
        returned(rig, ref)
        seeds.append(seed_files(rig.ctx, ref)["instance"])
    assert seeds[0] == ref.encode()
    assert len(set(seeds)) == 3
    assert all(seed.startswith(seeds[0]) for seed in seeds)


def test_a_guest_that_cannot_be_frozen_gets_none_unless_it_may_be_as_after_a_power_cut(rig: Rig) -> None:
    ref = rig.ready()
    rig.pass_time(AGENT_START)
    rig.fake.faults = Faults(agent_away=True)
    failed = made(rig, ref)
    assert failed.error is not None
    assert (failed.state, failed.error["code"], failed.held_gib, failed.actions) == (
        "failed",
        "unavailable",
        0,
        ["delete"],
    )
    assert "--crash-consistent" in failed.error["hint"]
    assert not rig.fake.frozen(ref)
    assert rig.audits("snapshot.failed") == ["snapshot.failed"]
    assert made(rig, ref, "crash", crash_consistent=True).how == "crash"


def test_an_agent_that_starts_after_ssh_is_waited_for(rig: Rig) -> None:
    ref = rig.ready()
    rig.fake.faults = Faults(agent_away=True)
    snapshots.create(rig.ctx, rig.caller, ref, "before")
    rig.until_true(lambda: ("mirror", ref) in rig.fake.calls or ("freeze", ref) in rig.fake.calls)
    rig.settle()
    assert view(rig, ref).state == "making"
    rig.fake.faults = Faults()
    rig.pass_time(30)
    rig.until_true(lambda: view(rig, ref).state == "ready")


def test_who_stops_a_machine_does_not_wait_for_its_copy(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is made of the machine that is off then."""
    ref = rig.ready()
    stop = iter([lambda: machines.stop(rig.ctx, rig.caller, ref)])
    real = type(rig.fake).copy_disk

    def copy(*args: object, **more: object) -> None:
        next(stop, lambda: None)()
        real(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(type(rig.fake), "copy_disk", copy)
    snapshots.create(rig.ctx, rig.caller, ref, "before")
    rig.until(ref, "ready", "stopping", "stopped")
    rig.until_true(lambda: view(rig, ref).state == "ready")
    assert view(rig, ref).how == "off"


def test_a_full_disk_is_told_and_leaves_the_machine_as_it_was(rig: Rig) -> None:
    ref = rig.ready()
    rig.fake.contents[ref] = "old"
    made(rig, ref)
    rig.fake.contents[ref] = "new"
    stopped(rig, ref)
    rig.fake.faults = Faults(disk_full=True)
    assert made(rig, ref, "more").state == "failed"
    returned(rig, ref)
    assert view(rig, ref).error is not None
    assert view(rig, ref).error["code"] == "disk_full"  # type: ignore[index]
    assert (rig.fake.contents[ref], rig.row(ref).redo, rig.row(ref).state) == ("new", "", "stopped")
    rig.fake.faults = Faults()
    returned(rig, ref)
    assert (rig.fake.contents[ref], view(rig, ref).error) == ("old", None)


def test_one_that_is_being_made_is_called_off(rig: Rig) -> None:
    ref = rig.ready()
    rig.fake.faults = Faults(away=True)
    snapshots.create(rig.ctx, rig.caller, ref, "before")
    snapshots.delete(rig.ctx, rig.caller, ref, "before")
    rig.fake.faults = Faults()
    rig.until_true(lambda: not snapshots.listing(rig.ctx, rig.caller, ref))
    assert not rig.fake.snapshots.get(ref)


# --- beside rebuild, resize, deletion, moves ------------------------------------------------------------------------------


def test_rebuilt_on_another_image_and_resized_it_returns_to_the_disk_and_image_that_it_had(rig: Rig) -> None:
    ref = rig.ready()
    rig.fake.contents[ref] = "old"
    first = rig.row(ref).image_id
    made(rig, ref)
    images.register(rig.ctx, "debian-12", "cd" * 32, {"name": "debian-12", "cmdline": "root=LABEL=root"})
    remaking.rebuild(rig.ctx, rig.caller, ref)
    rig.until(ref, "preparing", "booting", "ready")
    assert rig.row(ref).image_id != first
    assert ref not in rig.fake.contents
    stopped(rig, ref)
    remaking.resize(rig.ctx, rig.caller, ref, "medium")
    since = len(rig.fake.calls)
    returned(rig, ref)
    assert calls(rig, since) == ["restore", "grow"]
    assert (rig.fake.contents[ref], rig.row(ref).image_id, rig.row(ref).redo) == ("old", first, "")


def test_an_image_stays_while_a_snapshot_lies_on_it(rig: Rig, admin: Caller) -> None:
    ref = rig.ready()
    made(rig, ref)
    with rig.ctx.db.read() as session:
        old = session.get_one(Image, rig.row(ref).image_id)
    images.register(rig.ctx, "debian-12", "cd" * 32, {"name": "debian-12", "cmdline": "root=LABEL=root"})
    remaking.rebuild(rig.ctx, rig.caller, ref)
    rig.until(ref, "preparing", "booting", "ready")
    with pytest.raises(GarageError, match="machines made of it: 1"):
        images.delete(rig.ctx, admin, old.id)
    snapshots.delete(rig.ctx, rig.caller, ref, "before")
    rig.until_true(lambda: not snapshots.listing(rig.ctx, rig.caller, ref))
    images.delete(rig.ctx, admin, old.id)
    assert images.condemned(rig.ctx, [old.sha256]) == [old.sha256]


def test_deleted_with_its_machine(rig: Rig) -> None:
    ref = rig.ready()
    made(rig, ref)
    machines.delete(rig.ctx, rig.caller, ref)
    rig.until(ref, "deleting", "gone")
    assert ref not in rig.fake.snapshots
    with rig.ctx.db.read() as session:
        assert session.query(Snapshot).count() == 0


def test_a_machine_with_snapshots_stays_on_its_node_and_a_drain_says_why(ctx: Context, admin: Caller, rig: Rig) -> None:
    ref = rig.ready()
    made(rig, ref)
    with ctx.db.write() as session:
        session.add(Node(name="node2", hypervisor="fake://2", facts=session.get_one(Node, "node1").facts))
    drains.drain(ctx, admin, "node1")
    rig.settle()
    row = rig.row(ref)
    assert (row.node, row.moving_to) == ("node1", None)
    [item] = drains.preview(ctx, admin, "node1").machines
    assert item.reason is not None
    assert (item.way, item.reason["code"]) == ("stays", "in_use")
    snapshots.delete(ctx, rig.caller, ref, "before")
    rig.until_true(lambda: rig.row(ref).moving_to == "node2")
    with pytest.raises(GarageError, match="on its way to node2"):
        snapshots.create(ctx, rig.caller, ref)


# --- what is refused ------------------------------------------------------------------------------------------------------


def row(ctx: Context, who: Caller, *events: Event) -> str:
    ref = machines.create(ctx, who, NewMachine(name="one", size="tiny")).id
    play(ctx, ref, *events)
    return ref


OFF = (Event.STARTED, Event.ANSWERED, Event.STOP, Event.OFF)


def finished(ctx: Context, ref: str, gib: int = 1) -> None:
    """Play the worker."""
    with ctx.db.write() as session:
        for snapshot in session.query(Snapshot).where(Snapshot.machine_id == ref, Snapshot.state == "making"):
            snapshot.state, snapshot.bytes, snapshot.held_gib = "ready", gib << 30, gib


def refused(code: str, act: object) -> GarageError:
    with pytest.raises(GarageError) as caught:
        act()  # type: ignore[operator]
    assert caught.value.code == code
    assert caught.value.hint
    return caught.value


def test_states_in_which_it_is_not_possible(ctx: Context, alice: Caller) -> None:
    ref = row(ctx, alice)
    refused("wrong_state", lambda: snapshots.create(ctx, alice, ref))
    play(ctx, ref, Event.STARTED, Event.ANSWERED)
    snapshots.create(ctx, alice, ref, "before")
    for act in (
        lambda: snapshots.revert(ctx, alice, ref, "before"),
        lambda: remaking.rebuild(ctx, alice, ref),
    ):
        refused("wrong_state", act)
    finished(ctx, ref)
    refused("wrong_state", lambda: snapshots.revert(ctx, alice, ref, "before"))
    play(ctx, ref, Event.STOP, Event.OFF)
    refused("wrong_state", lambda: snapshots.revert(ctx, alice, ref, "before"))  # it is about to start again: a reboot
    with ctx.db.write() as session:
        session.get_one(Machine, ref).wants_running = False
    assert snapshots.get(ctx, alice, ref, "before").actions == ["revert", "delete"]
    snapshots.revert(ctx, alice, ref, "before")
    assert snapshots.get(ctx, alice, ref, "before").actions == []
    for act in (
        lambda: snapshots.revert(ctx, alice, ref, "before"),
        lambda: snapshots.delete(ctx, alice, ref, "before"),
        lambda: snapshots.create(ctx, alice, ref, "more"),
    ):
        refused("wrong_state", act)


def test_names_number_and_quota(ctx: Context, admin: Caller, alice: Caller) -> None:
    ref = row(ctx, alice, *OFF)
    snapshots.create(ctx, alice, ref, "before")
    refused("already_exists", lambda: snapshots.create(ctx, alice, ref, "before"))
    refused("invalid_field", lambda: snapshots.create(ctx, alice, ref, "../x"))
    used = projects.get(ctx, alice, "alice").usage.used["disk_gib"]
    assert used == 2 * machines.get(ctx, alice, ref).disk_gib, "until it is made, all that the disk may hold"
    finished(ctx, ref)
    assert projects.get(ctx, alice, "alice").usage.used["disk_gib"] == 1 + used // 2
    projects.set_quota(ctx, admin, "alice", {"disk_gib": used - 1})
    refused("quota_exceeded", lambda: snapshots.create(ctx, alice, ref))
    projects.set_quota(ctx, admin, "alice", {"disk_gib": 1000})
    for _ in range(LIMIT - 1):
        snapshots.create(ctx, alice, ref)
    assert refused("quota_exceeded", lambda: snapshots.create(ctx, alice, ref)).params["limit"] == LIMIT
    assert len({each.name for each in snapshots.listing(ctx, alice, ref)}) == LIMIT


def test_others_do_not_even_see_them(ctx: Context, alice: Caller, bob: Caller) -> None:
    ref = row(ctx, alice, *OFF)
    snapshots.create(ctx, alice, ref, "before")
    for act in (
        lambda: snapshots.listing(ctx, bob, ref),
        lambda: snapshots.get(ctx, bob, ref, "before"),
        lambda: snapshots.create(ctx, bob, ref),
        lambda: snapshots.revert(ctx, bob, ref, "before"),
        lambda: snapshots.delete(ctx, bob, ref, "before"),
    ):
        refused("not_found", act)


def test_of_a_lost_machine_only_the_row_can_go(ctx: Context, alice: Caller) -> None:
    ref = row(ctx, alice, *OFF)
    snapshots.create(ctx, alice, ref, "before")
    with ctx.db.write() as session:
        session.get_one(Machine, ref).state = "lost"
    snapshots.delete(ctx, alice, ref, "before")
    assert snapshots.listing(ctx, alice, ref) == []


# --- deaths ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("live", [True, False], ids=["runs", "off"])
def test_killed_anywhere_it_is_made_returned_to_and_removed_once(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, live: bool
) -> None:
    deaths = Deaths(monkeypatch)
    monkeypatch.setattr(fake_hypervisor, "STEPS", 1)
    ref = rig.ready()
    if not live:
        stopped(rig, ref)
    left: set[object] = set()
    for point in itertools.count(1):
        rig.fake.contents[ref] = f"old {point}"

        def killed(true: object) -> bool:
            """Whether the worker died before `true`; then another takes over until it is so."""
            rig.until_true(lambda: deaths.dead or true())  # type: ignore[operator]
            died = deaths.dead
            if died:
                rig.abandon()
            deaths.order(0)
            if died:
                frozen = rig.fake.frozen(ref)
                left.add(
                    (frozen, tuple(rig.fake.snapshots.get(ref, ())), rig.fake.contents[ref][:3], rig.row(ref).redo)
                )
                rig.begin()
                rig.until_true(true)  # type: ignore[arg-type]
            return died

        deaths.order(point)
        snapshots.create(rig.ctx, rig.caller, ref, "before")
        died = killed(lambda: view(rig, ref).state == "ready")
        assert not rig.fake.frozen(ref)
        assert list(rig.fake.snapshots[ref].values()) == [f"old {point}"]
        if live:
            stopped(rig, ref)
        rig.fake.contents[ref] = "new"
        deaths.order(point)
        snapshots.revert(rig.ctx, rig.caller, ref, "before")
        died |= killed(lambda: not view(rig, ref).reverting)
        assert rig.fake.contents[ref] == f"old {point}"
        deaths.order(point)
        snapshots.delete(rig.ctx, rig.caller, ref, "before")
        died |= killed(lambda: not snapshots.listing(rig.ctx, rig.caller, ref))
        assert not rig.fake.snapshots[ref]
        if live:
            machines.start(rig.ctx, rig.caller, ref)
            rig.until(ref, "booting", "ready")
        if not died:
            break
    assert len(left) >= 6, left
    assert not live or any(frozen for frozen, *_ in left), "also while its file systems stood still"  # type: ignore[misc]


def test_an_old_workers_word_counts_no_more(rig: Rig) -> None:
    ref = rig.ready()
    made(rig, ref)
    [row] = snapshots.listing(rig.ctx, rig.caller, ref)
    late = SnapshotMade(ref, row.id, 1, How.CRASH)
    assert work.record(rig.ctx, rig.hold, [late]) == [False]
    assert view(rig, ref).how == "frozen"
