"""services.machines: what is recorded, what is refused, and that a refusal leaves nothing behind."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from garage.core.states import Event
from garage.db.models import Audit, Machine, Node
from garage.errors import GarageError
from garage.services import capacity, crew, keys, leasing, machines, nodes, projects, work
from garage.services.context import Caller, Context
from garage.services.filtering import Filter
from garage.services.machines import NewMachine
from garage.services.transitions import fire
from netd import wire
from tests.conftest import ALICE_KEY, NOON, Clock


def refused(code: str):
    return pytest.raises(GarageError, check=lambda error: error.code == code)


def rows(ctx: Context) -> int:
    with ctx.db.read() as session:
        return session.scalar(select(func.count()).select_from(Machine)) or 0


def move(ctx: Context, ref: str, *events: Event) -> None:
    """Play the worker."""
    with ctx.db.write() as session:
        for event in events:
            fire(session, ctx, session.get_one(Machine, ref), event)


def test_create_reserves_everything_at_once(ctx: Context, alice: Caller) -> None:
    keys.add(ctx, alice, "laptop", ALICE_KEY)
    made = machines.create(ctx, alice, NewMachine(name="arm-test"))
    assert (made.state, made.project, made.size, made.image) == ("preparing", "alice", "small", "debian-12")
    assert made.ipv4 == "10.31.0.16"
    assert made.ipv6 == "fd31:4:5::10"
    assert made.fqdn == "arm-test.alice.home.garage.internal"
    assert made.host_key.startswith("ssh-ed25519 ")
    assert made.lease_until == NOON + 7 * 86_400
    with ctx.db.read() as session:
        row = session.get_one(Machine, made.id)
        assert row.authorized_keys == [ALICE_KEY]
        assert b"PRIVATE KEY" not in row.host_key_private
        assert ctx.vault.unlock(row.host_key_private).startswith(b"-----BEGIN OPENSSH PRIVATE KEY-----")
        assert [entry.action for entry in session.scalars(select(Audit).where(Audit.subject == "arm-test.alice"))] == [
            "machine.create"
        ]


def test_the_node_spec_names_the_machine(ctx: Context, alice: Caller) -> None:
    made = machines.create(ctx, alice, NewMachine(name="one"))
    sealed = nodes.sealed_spec(ctx, "node1", 0)
    assert sealed is not None
    spec = wire.unseal(sealed, ctx.controller_key.public_key(), node="node1")
    assert [(m.name, m.project, m.ipv4, m.mac) for m in spec.machines] == [
        ("one", "alice", made.ipv4, "52:67:00:00:00:01")
    ]
    assert spec.bridge.ipv4 == "10.31.0.1"
    assert nodes.sealed_spec(ctx, "node1", spec.version) is None
    with pytest.raises(wire.SpecError, match="not signed"):
        wire.unseal(sealed.replace(b'payload":"ey', b'payload":"fy'), ctx.controller_key.public_key(), node="node1")


def test_an_empty_name_is_made_up(ctx: Context, alice: Caller) -> None:
    assert machines.create(ctx, alice, NewMachine()).name.startswith("m-")


@pytest.mark.parametrize("name", ["UPPER", "1st", "a_b", "-a", "a-", "x" * 33, "a.b", "localhost", "a--b", "ä"])
def test_names_that_are_no_labels_are_refused(ctx: Context, alice: Caller, name: str) -> None:
    with refused("invalid_field"):
        machines.create(ctx, alice, NewMachine(name=name))
    assert rows(ctx) == 0


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        (NewMachine(size="zero"), "invalid_field"),
        (NewMachine(image="none"), "invalid_field"),
        (NewMachine(project="bob"), "not_found"),
        (NewMachine(lease_days=0), "invalid_field"),
        (NewMachine(lease_days=1e9), "invalid_field"),
        (NewMachine(user_data="hello"), "invalid_field"),
        (NewMachine(user_data="#cloud-config\na: [1"), "invalid_field"),
        (NewMachine(user_data="#cloud-config\n- a"), "invalid_field"),
        (NewMachine(user_data="#!/bin/sh\n" + "x" * 70_000), "invalid_field"),
    ],
)
def test_bad_requests_leave_nothing_behind(
    ctx: Context, alice: Caller, bob: Caller, wanted: NewMachine, code: str
) -> None:
    with refused(code):
        machines.create(ctx, alice, wanted)
    assert rows(ctx) == 0


def test_a_name_is_free_again_when_its_machine_is_gone(ctx: Context, alice: Caller) -> None:
    first = machines.create(ctx, alice, NewMachine(name="one"))
    with refused("already_exists"):
        machines.create(ctx, alice, NewMachine(name="one"))
    machines.delete(ctx, alice, "one")
    with refused("already_exists"):
        machines.create(ctx, alice, NewMachine(name="one"))
    move(ctx, first.id, Event.DELETED)
    second = machines.create(ctx, alice, NewMachine(name="one"))
    assert second.ipv4 != first.ipv4  # a freed address rests


def test_quota_is_exact(ctx: Context, admin: Caller, alice: Caller) -> None:
    projects.set_quota(ctx, admin, "alice", {"machines": 2})
    machines.create(ctx, alice, NewMachine(size="tiny"))
    machines.create(ctx, alice, NewMachine(size="tiny"))
    with refused("quota_exceeded"):
        machines.create(ctx, alice, NewMachine(size="tiny"))
    assert rows(ctx) == 2


def test_of_hundreds_at_once_one_wins_the_last_slot(ctx: Context, admin: Caller, alice: Caller) -> None:
    """Two thousand ask over HTTP in `tests.long.last_slot`."""
    projects.set_quota(ctx, admin, "alice", {"machines": 3})
    before = [machines.create(ctx, alice, NewMachine(size="tiny")).ipv4 for _ in range(2)]

    def ask(number: int) -> str:
        try:
            return machines.create(ctx, alice, NewMachine(size="tiny")).ipv4
        except GarageError as error:
            return ask(number) if error.code == "unavailable" else error.code  # too many waited for the database

    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(ask, range(200)))
    assert answers.count("quota_exceeded") == 199
    [won] = [answer for answer in answers if answer != "quota_exceeded"]
    assert won.startswith("10.")
    assert won not in before
    assert rows(ctx) == 3


def test_a_full_server_says_what_is_free_and_what_may_be_stopped(ctx: Context, admin: Caller, alice: Caller) -> None:
    projects.set_quota(ctx, admin, "alice", {"memory_mib": 1 << 20, "vcpus": 100})
    first = machines.create(ctx, alice, NewMachine(name="big", size="medium"))
    move(ctx, first.id, Event.STARTED, Event.ANSWERED)
    with ctx.db.write() as session:
        node = session.get_one(Node, "node1")
        node.facts = node.facts | {"memory_mib": 6144}
    with pytest.raises(GarageError) as caught:
        machines.create(ctx, alice, NewMachine(size="medium"))
    assert caught.value.code == "no_capacity"
    assert caught.value.params["free_memory"] == 1024
    assert caught.value.params["stoppable"] == "big"


def test_below_the_disk_reserve_nothing_new_is_made(ctx: Context, alice: Caller) -> None:
    with ctx.db.write() as session:
        node = session.get_one(Node, "node1")
        node.facts = node.facts | {"disk_free_gib": 0.5}
    with refused("disk_full"):
        machines.create(ctx, alice, NewMachine())


def test_others_machines_do_not_exist(ctx: Context, alice: Caller, bob: Caller) -> None:
    made = machines.create(ctx, alice, NewMachine(name="one"))
    for ref in (made.id, "one", "one.alice"):
        for act in (machines.get, machines.start, machines.stop, machines.reboot, machines.renew, machines.delete):
            with refused("not_found"):
                act(ctx, bob, ref)
    assert machines.listing(ctx, bob).items == []


def test_members_of_a_project_share_its_machines(ctx: Context, alice: Caller, bob: Caller) -> None:
    projects.create(ctx, alice, "arms")
    made = machines.create(ctx, alice, NewMachine(name="one", project="arms"))
    keys.add(ctx, bob, "laptop", ALICE_KEY)
    projects.set_member(ctx, alice, "arms", "bob", "member")
    assert machines.get(ctx, bob, "one.arms").id == made.id
    with ctx.db.read() as session:
        row = session.get_one(Machine, made.id)
        assert row.authorized_keys == [ALICE_KEY]
        assert row.keys_applied is False
    projects.remove_member(ctx, alice, "arms", "bob")
    with refused("not_found"):
        machines.get(ctx, bob, made.id)
    with ctx.db.read() as session:
        assert session.get_one(Machine, made.id).authorized_keys == []


def test_life_of_a_machine(ctx: Context, alice: Caller) -> None:
    ref = machines.create(ctx, alice, NewMachine(name="one")).id
    with refused("wrong_state"):
        machines.stop(ctx, alice, ref)
    move(ctx, ref, Event.STARTED, Event.ANSWERED)
    with refused("wrong_state"):
        machines.start(ctx, alice, ref)
    rebooting = machines.reboot(ctx, alice, ref)
    assert (rebooting.state, rebooting.wants_running) == ("stopping", True)
    move(ctx, ref, Event.OFF, Event.START, Event.ANSWERED)
    stopped = machines.stop(ctx, alice, ref)
    assert (stopped.state, stopped.wants_running) == ("stopping", False)
    move(ctx, ref, Event.OFF)
    assert machines.start(ctx, alice, ref).state == "booting"
    assert machines.delete(ctx, alice, ref).state == "deleting"
    with refused("wrong_state"):
        machines.delete(ctx, alice, ref)


def test_a_stopped_machine_gives_its_memory_away_but_not_its_quota(ctx: Context, admin: Caller, alice: Caller) -> None:
    ref = machines.create(ctx, alice, NewMachine(name="one")).id
    move(ctx, ref, Event.STARTED, Event.ANSWERED, Event.STOP, Event.OFF)
    with ctx.db.read() as session:
        assert capacity.rooms(session, ctx)[0].used.memory_mib == 0
    assert projects.get(ctx, alice, "alice").usage.used["memory_mib"] == 2048


def test_renewing_never_shortens(ctx: Context, alice: Caller, clock: Clock) -> None:
    ref = machines.create(ctx, alice, NewMachine(name="one", lease_days=30)).id
    assert machines.renew(ctx, alice, ref).lease_until == NOON + 30 * 86_400
    clock.forward(29 * 86_400)
    assert machines.renew(ctx, alice, ref, days=7).lease_until == NOON + 36 * 86_400


def test_pages_of_a_list_are_complete_and_disjoint(ctx: Context, admin: Caller, alice: Caller, clock: Clock) -> None:
    projects.set_quota(ctx, admin, "alice", {"machines": 20, "vcpus": 100, "memory_mib": 1 << 20})
    made = []
    for number in range(7):
        clock.forward(1)
        made.append(machines.create(ctx, alice, NewMachine(name=f"m{number}", size="tiny")).id)
    seen, cursor = [], None
    while True:
        page = machines.listing(ctx, alice, limit=3, cursor=cursor)
        seen += [view.id for view in page.items]
        if (cursor := page.cursor) is None:
            break
    assert seen == made[::-1]
    assert [view.name for view in machines.listing(ctx, alice, Filter(search="m3")).items] == ["m3"]


def test_a_lease_that_ends_while_its_machine_is_deleted_stops_nothing_else(
    ctx: Context, alice: Caller, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        machines.create(ctx, alice, NewMachine(name=name, size="tiny", lease_days=1))
    with ctx.db.write() as session:
        for row in session.scalars(select(Machine)):
            row.lease_ended_at = row.lease_until
    clock.forward(90 * 86_400)
    check = leasing.held

    def meanwhile(session: Session, hold: work.Hold) -> Node:
        fire(session, ctx, session.scalars(select(Machine).where(Machine.name == "one")).one(), Event.DELETE)
        return check(session, hold)

    monkeypatch.setattr(leasing, "held", meanwhile)
    crew.join(ctx, "worker", "server", ctx.config.node)
    [hold] = crew.take(ctx, "worker", [ctx.config.node])
    assert leasing.run(ctx, hold) == 1
    assert {view.state for view in machines.listing(ctx, alice).items} == {"deleting"}
