"""Volumes: made, attached, detached, enlarged, deleted; by the services and by the worker on the fake hypervisor."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from garage.core.plan import AGENT_START
from garage.core.states import Event
from garage.core.volumes import LIMIT, VolumeState
from garage.db import loads
from garage.db.models import Node
from garage.db.node_models import NodeLoad
from garage.db.volume_models import Volume
from garage.errors import GarageError
from garage.services import (
    drains,
    machines,
    offboarding,
    projects,
    remaking,
    transferring,
    volume_rules,
    volumes,
    work,
)
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from garage.services.volume_notes import VolumeAttached, VolumeDetached
from garage.services.volume_views import VolumeView
from garage.services.volumes import NewVolume
from garage.shell.fake_settings import Faults
from tests.conftest import Clock
from tests.inproc.deaths import Deaths
from tests.inproc.rig import NODE, Rig, rigged
from tests.inproc.served import play
from tests.inproc.test_pool import filled


@pytest.fixture
def rig(ctx: Context, clock: Clock, alice: Caller) -> Iterator[Rig]:
    with rigged(ctx, clock, alice) as made:
        yield made


def view(rig: Rig, ref: str = "data") -> VolumeView:
    return volumes.get(rig.ctx, rig.caller, ref)


def until(rig: Rig, state: str, ref: str = "data") -> VolumeView:
    rig.until_true(lambda: view(rig, ref).state == state)
    return view(rig, ref)


def gone(rig: Rig, ref: str = "data") -> bool:
    return ref not in {each.name for each in volumes.listing(rig.ctx, rig.caller).items}


def made(rig: Rig, name: str = "data", gib: int = 2, machine: str | None = None) -> VolumeView:
    volumes.create(rig.ctx, rig.caller, NewVolume(name, gib, machine=machine))
    return until(rig, "attached" if machine else "available", name)


def attached(rig: Rig, ref: str, name: str = "data") -> VolumeView:
    volumes.attach(rig.ctx, rig.caller, name, ref)
    return until(rig, "attached", name)


def detached(rig: Rig, name: str = "data") -> VolumeView:
    volumes.detach(rig.ctx, rig.caller, name)
    return until(rig, "available", name)


def stopped(rig: Rig, ref: str) -> None:
    machines.stop(rig.ctx, rig.caller, ref)
    rig.until(ref, "stopping", "stopped")


# --- a whole life ---------------------------------------------------------------------------------------------------------


def test_one_goes_from_machine_to_machine_with_what_is_on_it(rig: Rig) -> None:
    one, two = rig.ready("one"), rig.ready("two")
    volume = made(rig)
    assert (volume.size_gib, volume.made_gib, volume.machine, volume.node) == (2, 2, None, NODE)
    assert volume.path == f"/dev/disk/by-id/virtio-{volume.id}"
    assert len(volume.id) == 20, "as long as a virtio disk's serial may be"
    assert attached(rig, one).machine == "one"
    assert rig.fake.volumes_of(one) == (volume.id,)
    rig.fake.volumes[volume.id]["holds"] = "work"
    detached(rig)
    assert rig.fake.volumes_of(one) == ()
    attached(rig, two)
    machines.delete(rig.ctx, rig.caller, two)
    rig.until(two, "deleting", "gone")
    assert (view(rig).state, view(rig).machine) == ("available", None)
    assert rig.fake.volumes[volume.id]["holds"] == "work"
    volumes.delete(rig.ctx, rig.caller, "data")
    rig.until_true(lambda: gone(rig))
    assert rig.fake.volumes == {}
    actions = [f"volume.{what}" for what in ("create", "attach", "detach", "attach", "delete")]
    assert rig.audits(*actions) == actions


def test_a_machine_that_is_off_has_it_from_its_next_start_on_and_keeps_it_when_it_is_rebuilt(rig: Rig) -> None:
    ref = rig.ready()
    stopped(rig, ref)
    made(rig)
    made(rig, "more")
    attached(rig, ref)
    attached(rig, ref, "more")
    assert rig.fake.volumes_of(ref) == ()
    machines.start(rig.ctx, rig.caller, ref)
    rig.until(ref, "booting", "ready")
    assert rig.fake.volumes_of(ref) == (view(rig).id, view(rig, "more").id)
    stopped(rig, ref)
    detached(rig)
    remaking.rebuild(rig.ctx, rig.caller, ref)
    rig.until(ref, "preparing", "booting", "ready")
    assert rig.fake.volumes_of(ref) == (view(rig, "more").id,)
    assert view(rig, "more").machine == "one"


def test_made_for_a_machine_it_is_attached_as_soon_as_it_is_there(rig: Rig) -> None:
    ref = rig.ready()
    volume = made(rig, machine="one")
    assert rig.fake.volumes_of(ref) == (volume.id,)


@pytest.mark.parametrize("warm", [False, True], ids=["boots", "out of a pool"])
def test_a_new_machine_has_those_that_it_was_made_with(ctx: Context, clock: Clock, alice: Caller, warm: bool) -> None:
    share = replace(ctx, config=replace(ctx.config, pool_ram_share=0.25 if warm else 0.0))
    with rigged(share, clock, alice) as rig:
        first, second = made(rig), made(rig, "more")
        if warm:
            filled(rig)
        ref = machines.create(rig.ctx, alice, NewMachine(name="one", volumes=("data", second.id))).id
        rig.netd()
        rig.until(ref, "preparing", *([] if warm else ["booting"]), "ready")
        rig.until_true(lambda: {view(rig).state, view(rig, "more").state} == {"attached"})
        assert rig.fake.volumes_of(ref) == (first.id, second.id)
        assert (view(rig).machine_id, rig.row(ref).cold_reason == "") == (ref, warm)


def test_it_grows_alone_in_a_machine_that_runs_and_in_one_that_is_off(rig: Rig) -> None:
    ref, volume = rig.ready(), made(rig)

    def grown(to: int) -> None:
        volumes.grow(rig.ctx, rig.caller, "data", to)
        rig.until_true(lambda: view(rig).made_gib == to)
        assert rig.fake.volumes[volume.id]["gib"] == to

    grown(3)
    attached(rig, ref)
    since = len(rig.fake.calls)
    grown(4)
    assert [call for call, _ in rig.fake.calls[since:]] == ["resize"]
    stopped(rig, ref)
    grown(5)
    with pytest.raises(GarageError, match="5 to 16384 GiB"):
        volumes.grow(rig.ctx, rig.caller, "data", 4)


# --- what goes wrong ------------------------------------------------------------------------------------------------------


def test_a_guest_that_uses_it_keeps_it_and_says_so(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = rig.ready()
    made(rig, machine="one")
    monkeypatch.setattr(type(rig.fake), "execute", lambda *_args, **_more: False)
    volumes.detach(rig.ctx, rig.caller, "data")
    rig.until_true(lambda: view(rig).error is not None)
    found = view(rig)
    assert (found.state, found.error["code"]) == ("attached", "in_use")  # type: ignore[index]
    assert found.path in GarageError.from_dict(found.error).params.values()  # type: ignore[arg-type]
    assert rig.fake.volumes_of(ref) == (found.id,)
    stopped(rig, ref)
    assert detached(rig).error is None


def test_a_guest_that_does_not_let_go_is_asked_again_and_may_keep_it(rig: Rig) -> None:
    ref = rig.ready()
    made(rig, machine="one")
    rig.fake.faults = Faults(keeps_volumes=True)
    volumes.detach(rig.ctx, rig.caller, "data")
    rig.until_true(lambda: view(rig).error is not None)
    assert (view(rig).state, view(rig).error["code"]) == ("detaching", "unavailable")  # type: ignore[index]
    attached(rig, ref)
    volumes.detach(rig.ctx, rig.caller, "data")
    rig.fake.faults = Faults()
    rig.pass_time(60)
    assert until(rig, "available").error is None


def test_one_without_a_guest_agent_is_taken_back_all_the_same(rig: Rig) -> None:
    rig.ready()
    made(rig, machine="one")
    rig.fake.faults = Faults(agent_away=True)
    volumes.detach(rig.ctx, rig.caller, "data")
    rig.settle()
    assert (view(rig).state, view(rig).error) == ("detaching", None), "its agent may still be starting"
    rig.pass_time(AGENT_START)
    until(rig, "available")


def test_a_machine_whose_guest_does_not_hear_goes_all_the_same(rig: Rig) -> None:
    """What is in its memory is lost; the volume is free then."""
    ref = rig.ready()
    made(rig, machine="one")
    rig.fake.faults = Faults(agent_away=True)
    machines.delete(rig.ctx, rig.caller, ref)
    until(rig, "available")
    assert not rig.fake.observe()


def test_no_room_on_the_disk_is_told_and_it_can_be_deleted(rig: Rig) -> None:
    ref = rig.ready()
    rig.fake.faults = Faults(disk_full=True)
    volumes.create(rig.ctx, rig.caller, NewVolume("data", 2, machine=ref))
    failed = until(rig, "failed")
    assert (failed.error["code"], failed.machine, failed.actions) == ("disk_full", None, ["delete"])  # type: ignore[index]
    assert rig.audits("volume.failed") == ["volume.failed"]
    volumes.delete(rig.ctx, rig.caller, "data")
    rig.until_true(lambda: gone(rig))


def test_a_domain_that_does_not_take_it_leaves_it_available(rig: Rig) -> None:
    ref, volume = rig.ready(), made(rig)
    del rig.fake.volumes[volume.id]
    volumes.attach(rig.ctx, rig.caller, "data", ref)
    rig.until_true(lambda: view(rig).error is not None)
    assert (view(rig).state, view(rig).machine, rig.row(ref).state) == ("available", None, "ready")


def test_it_waits_for_a_node_that_does_not_answer(rig: Rig) -> None:
    rig.ready()
    rig.fake.faults = Faults(away=True)
    volumes.create(rig.ctx, rig.caller, NewVolume("data", 2))
    rig.settle()
    assert view(rig).state == "making"
    rig.fake.faults = Faults()
    rig.pass_time(30)
    until(rig, "available")


def test_killed_anywhere_each_thing_is_done_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    deaths, ref = Deaths(monkeypatch), rig.ready()

    def survive(point: int, act: Callable[[], object], true: Callable[[], object]) -> bool:
        """Whether a worker died of it; then another takes over until `true`."""
        deaths.order(point)
        act()
        rig.until_true(lambda: deaths.dead or bool(true()))
        died = deaths.dead
        if died:
            rig.abandon()
        deaths.order(0)
        if died:
            rig.begin()
            rig.until_true(lambda: bool(true()))
        return died

    for point in itertools.count(1):
        died = survive(
            point,
            lambda: volumes.create(rig.ctx, rig.caller, NewVolume("data", 2)),
            lambda: view(rig).state == "available",
        )
        volume = view(rig)
        died |= survive(
            point, lambda: volumes.attach(rig.ctx, rig.caller, "data", ref), lambda: view(rig).state == "attached"
        )
        assert rig.fake.volumes_of(ref) == (volume.id,)
        died |= survive(point, lambda: volumes.grow(rig.ctx, rig.caller, "data", 3), lambda: view(rig).made_gib == 3)
        died |= survive(point, lambda: volumes.detach(rig.ctx, rig.caller, "data"), lambda: view(rig).machine is None)
        assert rig.fake.volumes_of(ref) == ()
        died |= survive(point, lambda: volumes.delete(rig.ctx, rig.caller, "data"), lambda: gone(rig))
        assert rig.fake.volumes == {}
        if not died:
            break
    assert point > 3, "each is several steps"


def test_an_old_workers_word_counts_no_more(rig: Rig) -> None:
    ref = rig.ready()
    volume = made(rig, machine="one")
    late = [VolumeAttached(volume.id, ref), VolumeDetached(volume.id, ref)]
    assert work.record(rig.ctx, rig.hold, late) == [False, False]
    assert view(rig).state == "attached"


def test_a_new_machine_goes_where_its_volumes_are_or_is_refused(ctx: Context, alice: Caller) -> None:
    with ctx.db.write() as session:
        facts = session.get_one(Node, ctx.config.node).facts
        session.add(Node(name="node2", hypervisor="fake://2", facts=facts | {"memory_mib": 64 * facts["memory_mib"]}))
    for name, node in (("here", ctx.config.node), ("there", "node2")):
        volumes.create(ctx, alice, NewVolume(name, 1))
        with ctx.db.write() as session:
            row = session.scalars(select(Volume).where(Volume.name == name)).one()
            row.state, row.node = "available", node
    assert machines.create(ctx, alice, NewMachine(size="tiny")).node == "node2"
    assert machines.create(ctx, alice, NewMachine(size="tiny", volumes=("here",))).node == ctx.config.node
    refused("in_use", lambda: machines.create(ctx, alice, NewMachine(volumes=("here",))))


# --- who may what, and how much -------------------------------------------------------------------------------------------


def refused(code: str, act: Callable[[], Any]) -> GarageError:
    with pytest.raises(GarageError) as found:
        act()
    assert found.value.code == code, found.value
    assert found.value.hint
    return found.value


def ready(ctx: Context, who: Caller, name: str = "one", **more: Any) -> str:
    """Without a worker."""
    made = machines.create(ctx, who, NewMachine(name=name, size="tiny", **more))
    play(ctx, made.id, Event.STARTED, Event.ANSWERED)
    return made.id


def held(ctx: Context, who: Caller, ref: str, name: str = "data") -> str:
    """Without a worker: a volume that the machine has."""
    found = volumes.create(ctx, who, NewVolume(name, 2, machine=ref)).id
    with ctx.db.write() as session:
        session.get_one(Volume, found).state = VolumeState.ATTACHED.value
    return found


def test_it_counts_in_the_projects_quota_and_on_the_node_until_it_is_gone(ctx: Context, alice: Caller) -> None:
    def used() -> tuple[int, int]:
        with ctx.db.read() as session:
            assert loads.drift(session.connection()) == []
            on_node = session.scalars(select(NodeLoad.used_disk_gib)).one()
            return projects.get(ctx, alice, "alice").usage.used["disk_gib"], on_node

    most = projects.get(ctx, alice, "alice").usage.quota["disk_gib"]
    volumes.create(ctx, alice, NewVolume("data", 4))
    assert used() == (4, 4)
    with ctx.db.write() as session:
        session.scalars(select(Volume)).one().state = "available"
    volumes.grow(ctx, alice, "data", 6)
    assert used() == (6, 6)
    refused("quota_exceeded", lambda: volumes.grow(ctx, alice, "data", most + 1))
    refused("quota_exceeded", lambda: volumes.create(ctx, alice, NewVolume("more", most - 5)))
    refused("already_exists", lambda: volumes.create(ctx, alice, NewVolume("data", 1)))
    volumes.delete(ctx, alice, "data")
    assert used() == (6, 6), "its file is still there"
    with ctx.db.write() as session:
        session.delete(session.scalars(select(Volume)).one())
    assert used() == (0, 0)


def test_what_may_not_be_done_is_refused_and_says_what_helps(ctx: Context, alice: Caller, bob: Caller) -> None:
    ref, volume = ready(ctx, alice), ""
    volume = held(ctx, alice, ref)
    refused("in_use", lambda: volumes.delete(ctx, alice, "data"))
    refused("in_use", lambda: volumes.attach(ctx, alice, "data", ref))
    refused("in_use", lambda: transferring.transfer(ctx, alice, ref, projects.create(ctx, alice, "arms").id))
    for act in (volumes.get, volumes.delete, volumes.detach):
        refused("not_found", lambda act=act: act(ctx, bob, volume))  # type: ignore[misc]
    assert volumes.listing(ctx, bob).items == []
    play(ctx, ref, Event.STOP)
    refused("wrong_state", lambda: volumes.detach(ctx, alice, "data"))
    volumes.create(ctx, alice, NewVolume("shared", 1, project="arms"))
    with ctx.db.write() as session:
        session.scalars(select(Volume).where(Volume.name == "shared")).one().state = "available"
    assert refused("invalid_field", lambda: volumes.attach(ctx, alice, "shared", ref)).pointer == "/machine"
    refused("in_use", lambda: projects.delete(ctx, alice, "arms"))
    play(ctx, ref, Event.OFF)
    for number in range(1, LIMIT):
        held(ctx, alice, ref, f"v{number}")
    refused("quota_exceeded", lambda: held(ctx, alice, ref, "one-more"))


def test_a_machine_that_has_one_stays_on_its_node_and_so_does_a_node_with_volumes(
    ctx: Context, admin: Caller, alice: Caller
) -> None:
    ref = ready(ctx, alice)
    held(ctx, alice, ref)
    with ctx.db.write() as session:
        here = session.get_one(Node, ctx.config.node)
        session.add(Node(name="node2", hypervisor="fake://2", facts=here.facts))
        assert "volume delete" in refused("in_use", lambda: volume_rules.check_none_on(session, here)).hint
    [item] = drains.preview(ctx, admin, ctx.config.node).machines
    assert item.reason is not None
    assert (item.way, item.reason["code"]) == ("stays", "in_use")


def test_who_leaves_hands_them_over_or_takes_them_along(
    ctx: Context, admin: Caller, alice: Caller, bob: Caller
) -> None:
    volumes.create(ctx, alice, NewVolume("data", 2))
    offboarding.offboard(ctx, admin, "alice", to="bob")
    assert volumes.get(ctx, bob, "data").project == "alice"
    held(ctx, bob, ready(ctx, bob), "mine")
    offboarding.offboard(ctx, admin, "bob")
    assert {each.state for each in volumes.listing(ctx, admin).items} == {"deleting"}
