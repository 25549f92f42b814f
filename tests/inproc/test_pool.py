"""Pools with the fake hypervisor: made in advance, taken at a request, replaced, out of the way of what runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from sqlalchemy import select

from garage.core.hypervisor_types import Domain, Power
from garage.core.pool import Cold
from garage.db.models import EventRow, Image, Machine, Node, Size
from garage.errors import GarageError
from garage.services import demand, images, machines, outlook, pool_views, pools
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from garage.worker.park import park
from tests.conftest import Clock
from tests.inproc.rig import NODE, Rig, rigged


@pytest.fixture
def rig(ctx: Context, clock: Clock, alice: Caller) -> Iterator[Rig]:
    """Its pools are on."""
    with rigged(replace(ctx, config=replace(ctx.config, pool_ram_share=0.25)), clock, alice) as made:
        yield made


def spares(rig: Rig) -> list[Machine]:
    with rig.ctx.db.read() as session:
        return list(session.scalars(select(Machine).where(Machine.state == "spare").order_by(Machine.id)))


def filled(rig: Rig) -> Machine:
    """Turns until a pool machine waits."""
    for _ in range(60):
        rig.pass_time(11)
        rig.netd()
        rig.settle()
        if [spare for spare in spares(rig) if spare.warm]:
            return spares(rig)[0]
    raise AssertionError(rig.fake.calls)


def test_one_waits_paused_and_is_nobodys(rig: Rig) -> None:
    spare = filled(rig)
    assert (spare.project_id, spare.created_by, spare.host_key_private, spare.authorized_keys) == (None, None, b"", [])
    assert rig.fake.calls[-1] == ("suspend", spare.id)
    assert machines.listing(rig.ctx, rig.caller).items == []
    with rig.ctx.db.read() as session:
        assert session.scalars(select(EventRow).where(EventRow.kind == "machine")).all() == []
    filled(rig)
    assert len(spares(rig)) == 1, "no more than wanted"


def test_an_image_that_only_pool_machines_are_made_of_can_go(rig: Rig, admin: Caller) -> None:
    image = filled(rig).image_id
    assert images.get(rig.ctx, admin, image).machines == 0
    sha256 = images.get(rig.ctx, admin, image).sha256
    images.delete(rig.ctx, admin, image)
    assert images.condemned(rig.ctx, [sha256]) == [], "its files stay as long as they are needed"
    for _ in range(3):
        rig.pass_time(11)
        rig.netd()
        rig.settle()
    assert spares(rig) == []
    assert images.condemned(rig.ctx, [sha256]) == [sha256]


def test_a_request_takes_it_and_it_keeps_its_address(rig: Rig) -> None:
    spare = filled(rig)
    before = len(rig.fake.calls)
    made = machines.create(rig.ctx, rig.caller, NewMachine(name="one"))
    assert (made.id, made.ipv4, made.state) == (spare.id, spare.ipv4, "preparing")
    rig.until(made.id, "preparing", "ready")
    assert rig.fake.calls[before:] == [("resume", made.id), ("execute", made.id)]
    assert rig.fake.read_file(made.id, "take") == made.id.encode()
    row = rig.row(made.id)
    assert (row.name, row.cold_reason, row.warm, row.wants_running) == ("one", "", False, True)
    assert row.ready_at is not None
    machines.stop(rig.ctx, rig.caller, made.id)
    rig.until(made.id, "stopping", "stopped")
    machines.start(rig.ctx, rig.caller, made.id)
    rig.until(made.id, "booting", "ready")


def test_who_finds_none_boots_and_is_told_why(rig: Rig) -> None:
    first = machines.create(rig.ctx, rig.caller, NewMachine(name="one"))
    assert rig.row(first.id).cold_reason == Cold.EMPTY
    rig.netd()
    rig.until(first.id, "preparing", "booting", "ready")
    filled(rig)
    text = "#cloud-config\nruncmd: [ls]\nbootcmd: [ls]\nmounts: []\n"
    early = machines.create(rig.ctx, rig.caller, NewMachine(name="two", user_data=text))
    assert (early.cold_reason, early.cold_detail) == (Cold.USER_DATA, "bootcmd, mounts")
    other = machines.create(rig.ctx, rig.caller, NewMachine(name="three", size="tiny"))
    assert rig.row(other.id).cold_reason == Cold.EMPTY


def test_user_data_that_can_come_late_takes_one(rig: Rig) -> None:
    spare = filled(rig)
    made = machines.create(rig.ctx, rig.caller, NewMachine(name="one", user_data="#cloud-config\nruncmd: [ls]\n"))
    assert (made.id, made.cold_reason, made.cold_detail) == (spare.id, "", "")
    rig.until(made.id, "preparing", "ready")
    assert rig.row(made.id).user_data is not None, "for its next boots"


def test_who_finds_none_in_spite_of_late_user_data_is_told_that(rig: Rig) -> None:
    made = machines.create(rig.ctx, rig.caller, NewMachine(name="one", user_data="#!/bin/sh\n"))
    assert (made.cold_reason, made.cold_detail) == (Cold.EMPTY, "")


def test_an_image_that_learns_who_it_is_at_its_first_boot_only_has_no_pool(rig: Rig, admin: Caller) -> None:
    images.register(rig.ctx, "plain", "ef" * 32, {"name": "plain", "cmdline": "", "initrd": "debian"})
    assert pool_views.fix(rig.ctx, admin, "plain", "tiny", 2).wanted == 0


@pytest.mark.parametrize("state", ["draining", "maintenance"])
def test_a_node_that_is_emptied_keeps_none_and_gives_none(rig: Rig, state: str) -> None:
    spare = filled(rig)
    with rig.ctx.db.write() as session:
        session.get_one(Node, NODE).state = state
    assert outlook.forecast(rig.ctx).waiting == 0
    with pytest.raises(GarageError, check=lambda error: error.code == "unavailable"):
        machines.create(rig.ctx, rig.caller, NewMachine(name="one"))
    rig.pass_time(11)
    rig.settle()
    rig.netd()
    rig.until(spare.id, "deleting", "gone")
    assert spares(rig) == []


def test_nodes_divide_what_is_asked_for(rig: Rig, admin: Caller) -> None:
    filled(rig)
    with rig.ctx.db.write() as session:
        first = session.get_one(Node, NODE)
        for name in ("node2", "node3"):
            session.add(Node(name=name, hypervisor="fake://", facts=first.facts))
        session.get_one(Node, "node3").state = "draining"
        session.flush()
        wanted = [
            pools.wanted_on(session, rig.ctx, name, demand.wants(session, rig.ctx)) for name in (NODE, "node2", "node3")
        ]
    small = [sum(count for kind, count in one.items() if kind.size == "small") for one in wanted]
    assert sorted(small) == [0, 0, 1], "one machine over all nodes"
    assert wanted[2] == {}
    with rig.ctx.db.read() as session:
        found = pools.wanted_in_all(session, rig.ctx, demand.wants(session, rig.ctx))
    assert found == {kind: wanted[0][kind] + wanted[1][kind] for kind in wanted[0]}
    fixed = pool_views.fix(rig.ctx, admin, "debian-12", "tiny", 2)
    assert fixed.wanted == 4, "what an admin fixes is each node's own"


def test_one_that_still_settles_is_paused_as_soon_as_somebody_waits(rig: Rig) -> None:
    rig.fake.settings.boot = 3600.0
    rig.pass_time(11)
    for _ in range(2):
        rig.netd()
        rig.settle()
    spare = spares(rig)[0]
    assert rig.fake.calls[-1] == ("execute", spare.id)
    machines.create(rig.ctx, rig.caller, NewMachine(name="one", size="tiny"))
    end = time.monotonic() + 20
    while rig.fake.look(spare.id) != Domain(Power.PAUSED):  # although it is to be asked again only later
        assert time.monotonic() < end, rig.fake.calls
        rig.turn()
        time.sleep(0.005)


def test_one_whose_agent_is_away_boots_after_all(rig: Rig) -> None:
    filled(rig)
    rig.fake.faults.agent_away = rig.fake.faults.mute = True
    made = machines.create(rig.ctx, rig.caller, NewMachine(name="one"))
    rig.settle()
    rig.pass_time(16)
    rig.settle()
    rig.fake.faults.agent_away = rig.fake.faults.mute = False
    rig.netd()
    rig.until(made.id, "preparing", "booting", "ready")
    assert rig.row(made.id).cold_reason == Cold.FAILED
    calls = [call for call, ref in rig.fake.calls if ref == made.id]
    assert calls[calls.index("destroy") :][:3] == ["destroy", "remove", "disk"], "on a new disk"


def test_a_worker_killed_between_resume_and_identity_gives_it_again(rig: Rig) -> None:
    filled(rig)
    made = machines.create(rig.ctx, rig.caller, NewMachine(name="one"))
    rig.fake.resume(made.id)
    rig.end()
    rig.begin()
    rig.until(made.id, "preparing", "ready")
    assert rig.fake.read_file(made.id, "take") == made.id.encode()


def test_it_grows_old_and_an_image_is_replaced(rig: Rig) -> None:
    old = filled(rig)
    rig.pass_time(24 * 3600)
    assert filled(rig).id != old.id
    assert rig.row(old.id).state == "gone"
    young = spares(rig)[0]
    images.register(rig.ctx, "debian-12", "cd" * 32, {"name": "debian-12", "cmdline": ""})
    assert machines.create(rig.ctx, rig.caller, NewMachine(name="one")).id != young.id, "of an older image"
    assert filled(rig).id != young.id
    assert rig.row(young.id).state == "gone"


def changed_size(rig: Rig, _admin: Caller) -> None:
    with rig.ctx.db.write() as session:
        session.get_one(Size, "small").memory_mib = 1536


def fixed_to_none(rig: Rig, admin: Caller) -> None:
    pool_views.fix(rig.ctx, admin, "debian-12", "small", 0)


@pytest.mark.parametrize(("change", "left"), [(changed_size, 1), (fixed_to_none, 0)])
def test_what_is_wanted_changes_and_so_does_what_waits(
    rig: Rig, admin: Caller, change: Callable[[Rig, Caller], None], left: int
) -> None:
    old = filled(rig)
    change(rig, admin)
    for _ in range(6):
        rig.pass_time(11)
        rig.netd()
        rig.settle()
    assert rig.row(old.id).state == "gone"
    assert [spare.memory_mib for spare in spares(rig)] == [1536] * left


def test_pools_that_are_turned_off_end(rig: Rig) -> None:
    old = filled(rig)
    rig.end()
    rig.ctx = replace(rig.ctx, config=replace(rig.ctx.config, pool_ram_share=0.0))
    rig.begin()
    rig.settle()
    rig.netd()
    rig.until(old.id, "deleting", "gone")
    assert spares(rig) == []


def test_machines_of_people_win_over_those_that_wait(rig: Rig) -> None:
    spare = filled(rig)
    with rig.ctx.db.write() as session:
        node = session.get_one(Node, NODE)
        node.facts = node.facts | {"memory_mib": 1024 + 4096 + 1024}
    made = machines.create(rig.ctx, rig.caller, NewMachine(name="big", size="medium"))
    assert made.state == "preparing"
    assert rig.row(spare.id).state == "deleting"
    rig.netd()
    rig.until(spare.id, "deleting", "gone")


def test_one_that_boots_makes_way_for_somebody_who_waits(rig: Rig) -> None:
    rig.fake.settings.boot = 3600.0
    rig.pass_time(11)
    for _ in range(2):
        rig.netd()
        rig.settle()
    spare = spares(rig)[0]
    assert rig.fake.calls[-1] == ("execute", spare.id), "not yet started"
    machines.create(rig.ctx, rig.caller, NewMachine(name="one", size="tiny"))
    rig.fake.calls.clear()
    rig.turn()
    rig.settle()
    assert ("suspend", spare.id) in rig.fake.calls
    assert not rig.row(spare.id).warm


def test_a_node_that_goes_down_takes_none_for_granted(rig: Rig) -> None:
    spare = filled(rig)
    rig.fake.reboot_node("fake-boot")
    rig.settle()
    assert rig.row(spare.id).state in ("deleting", "gone")
    assert pools.why_cold(rig.ctx, Image(manifest={}), early=False) is Cold.EMPTY


def test_an_admin_fixes_a_pool_and_sees_what_it_costs_and_brings(rig: Rig, admin: Caller) -> None:
    fixed = pool_views.fix(rig.ctx, admin, "debian-12", "tiny", 2)
    assert (fixed.fixed, fixed.wanted, fixed.waiting) == (2, 2, 0)
    for _ in range(8):
        filled(rig)
    tiny, small = (next(v for v in pool_views.listing(rig.ctx, admin) if v.size == size) for size in ("tiny", "small"))
    assert (tiny.waiting, tiny.memory_mib) == (2, 1024)
    assert (small.waiting, small.taken, small.missed) == (1, 0, 0)
    machines.create(rig.ctx, rig.caller, NewMachine(name="one"))
    machines.create(rig.ctx, rig.caller, NewMachine(name="two"))
    small = next(view for view in pool_views.listing(rig.ctx, admin) if view.size == "small")
    assert (small.taken, small.missed) == (1, 1)
    assert outlook.forecast(rig.ctx).reason != "pool"
    with pytest.raises(GarageError, check=lambda error: error.code == "forbidden"):
        pool_views.listing(rig.ctx, rig.caller)
    with pytest.raises(GarageError, check=lambda error: error.code == "not_found"):
        pool_views.fix(rig.ctx, admin, "debian-12", "no-such-size", 2)


def test_the_page_promises_what_waits(rig: Rig) -> None:
    assert outlook.forecast(rig.ctx).reason == "unknown"
    filled(rig)
    found = outlook.forecast(rig.ctx)
    assert (found.reason, found.waiting, found.seconds) == ("pool", 1, outlook.TYPICAL)
    full = replace(rig.ctx, config=replace(rig.ctx.config, vcpu_overcommit=0.01))
    assert outlook.forecast(full) == outlook.Forecast(None, "full")
    with pytest.raises(GarageError, check=lambda error: error.code == "no_capacity"):
        machines.create(full, rig.caller, NewMachine(name="one"))


def test_a_garage_that_goes_down_does_not_wait_for_those_that_are_paused(rig: Rig) -> None:
    spare = filled(rig)
    rig.loop.end()
    assert park(rig.ctx, rig.fake, seconds=0.0) == 1
    assert rig.fake.calls[-1] == ("destroy", spare.id)
    assert ("shutdown", spare.id) not in rig.fake.calls
