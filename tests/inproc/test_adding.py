"""Servers become nodes as rows: who may ask, what is refused, what a worker's death and a failure leave, what removing takes away."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select

from garage.core.states import State
from garage.core.types import NodeFacts
from garage.db.models import Audit, Machine, Node
from garage.errors import GarageError
from garage.services import adding, machines, nodes, own_site, renewing
from garage.services.adding import Task
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from netd import wire
from tests.conftest import Clock

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEmKSvnJgmSWEX7zVr/vRUgqAkpqKF0pCN0xzEuLBS1b"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ"
FACTS = NodeFacts(4, 8192, 90.0, 100.0, "tcg")


@pytest.fixture
def ctx(ctx: Context) -> Context:
    return replace(ctx, config=replace(ctx.config, public_url="https://garage.example:8443"))


def ask(ctx: Context, admin: Caller, target: str = "root@192.0.2.7", key: str = KEY, **more: str) -> adding.TaskView:
    return adding.ask(ctx, admin, target, key, **({"own_name": "lab"} | more))


def claimed(ctx: Context, worker: str = "w1") -> Task:
    task = adding.claim(ctx, worker)
    assert task is not None
    return task


def added(ctx: Context, admin: Caller, name: str = "node2", target: str = "root@192.0.2.7", key: str = KEY) -> None:
    ask(ctx, admin, target, key, name=name)
    task = claimed(ctx)
    adding.register(ctx, task, f"token of {name}", "qemu+tls://x/system", FACTS)
    adding.done(ctx, task, "kit 1")


def node(ctx: Context, name: str) -> Node | None:
    with ctx.db.read() as session:
        return session.get(Node, name)


def refused(code: str) -> pytest.RaisesExc[GarageError]:
    return pytest.raises(GarageError, check=lambda error: error.code == code)


def test_only_an_admin_asks_and_only_where_nodes_reach_the_controller(
    ctx: Context, admin: Caller, alice: Caller
) -> None:
    for act in (
        lambda: ask(ctx, alice),
        lambda: adding.listing(ctx, alice),
        lambda: adding.remove(ctx, alice, "node1"),
    ):
        with refused("forbidden"):
            act()
    alone = replace(ctx, config=replace(ctx.config, public_url=""))
    with refused("wrong_state"):
        ask(alone, admin)
    with refused("invalid_field"):
        adding.ask(ctx, admin, "root@192.0.2.7", KEY)  # the site has no name yet
    assert adding.listing(ctx, admin) == []


def test_a_server_is_one_node_under_one_name_with_one_key(ctx: Context, admin: Caller) -> None:
    assert ask(ctx, admin).name == "node2"
    with refused("in_use"):
        ask(ctx, admin)
    adding.failed(ctx, claimed(ctx), GarageError("ssh_failed", "it is off"))
    added(ctx, admin)
    for target, key, more in (
        ("192.0.2.8", OTHER, {"name": "node2"}),
        ("192.0.2.8", KEY, {"name": "node3"}),
        ("192.0.2.7", OTHER, {"name": "node3"}),
    ):
        with refused("already_exists"):
            ask(ctx, admin, target, key, **more)
    with refused("wrong_state"):
        ask(ctx, admin, key=OTHER)
    assert ask(ctx, admin).name == "node2", "the same again goes on, or renews"
    assert ask(ctx, admin, "192.0.2.8", OTHER).name == "node3"


def test_it_takes_machines_only_when_all_is_done_and_others_know_it_before(ctx: Context, admin: Caller) -> None:
    before = node(ctx, "node1")
    assert before is not None
    ask(ctx, admin)
    task = claimed(ctx)
    adding.register(ctx, task, "token", "qemu+tls://x/system", FACTS)
    half, one = node(ctx, "node2"), node(ctx, "node1")
    assert half is not None
    assert one is not None
    assert (half.state, nodes.authenticate(ctx, "token")) == ("maintenance", "node2")
    assert one.spec_version == before.spec_version + 1
    with ctx.db.read() as session:
        assert nodes.build_spec(session, ctx, session.get_one(Node, "node1")).peers == ("node2",)
    adding.done(ctx, task, "kit 1")
    assert getattr(node(ctx, "node2"), "state", "") == "active"
    assert (adding.get(ctx, admin, "node2").state, adding.get(ctx, admin, "node2").percent) == ("done", 100)


def test_a_failure_takes_back_what_it_made_and_nothing_of_a_node_that_was_there(ctx: Context, admin: Caller) -> None:
    ask(ctx, admin)
    task = claimed(ctx)
    adding.certified(ctx, "node2", "qemu", "abc", 2e9)
    adding.register(ctx, task, "token", "qemu+tls://x/system", FACTS)
    adding.failed(ctx, task, GarageError("network_error", "netd does not report"))
    assert node(ctx, "node2") is None
    assert nodes.authenticate(ctx, "token") is None
    assert [serial for serial, _ in adding.revoked(ctx)] == ["abc"]
    added(ctx, admin)
    ask(ctx, admin)
    adding.failed(ctx, claimed(ctx), GarageError("ssh_failed", "it is off"))
    assert node(ctx, "node2") is not None


def test_a_dead_workers_task_is_taken_over_and_its_late_word_refused(ctx: Context, admin: Caller, clock: Clock) -> None:
    ask(ctx, admin)
    first = claimed(ctx, "w1")
    assert adding.claim(ctx, "w2") is None
    clock.forward(adding.DEAD_AFTER - 1)
    adding.alive(ctx, first)
    clock.forward(adding.DEAD_AFTER - 1)
    assert adding.claim(ctx, "w2") is None, "it lives"
    clock.forward(2)
    second = claimed(ctx, "w2")
    assert adding.claim(ctx, "w3", ended=lambda worker: worker == "w1") is None
    for late in (lambda: adding.progress(ctx, first, "packages", 0.5), lambda: adding.done(ctx, first, "kit 1")):
        with refused("version_conflict"):
            late()
    adding.progress(ctx, second, "packages", 0.5, "installing")
    assert adding.get(ctx, admin, "node2").said == "installing"
    third = adding.claim(ctx, "w3", ended=lambda worker: worker == "w2")
    assert third is not None, "one that is known to have ended is not waited for"


def test_a_node_of_another_version_or_with_old_certificates_is_made_anew_one_at_a_time(
    ctx: Context, admin: Caller, clock: Clock
) -> None:
    for number, key in ((2, KEY), (3, OTHER)):
        added(ctx, admin, f"node{number}", f"root@192.0.2.{number}", key)
        adding.certified(ctx, f"node{number}", "qemu", f"serial{number}", clock() + 730 * 86400)
    clock.forward(700)
    assert renewing.renew(ctx, "kit 1") is None
    assert renewing.renew(ctx, "kit 2") == "node2"
    assert renewing.renew(ctx, "kit 2") is None, "one is under way"
    adding.done(ctx, claimed(ctx), "kit 2")
    assert renewing.renew(ctx, "kit 2") == "node3"
    adding.failed(ctx, claimed(ctx), GarageError("ssh_failed", "it is off"))
    clock.forward(3600)
    assert renewing.renew(ctx, "kit 3") is None, "what broke one would break the next"
    clock.forward(86400)
    assert renewing.renew(ctx, "kit 2") == "node3"
    adding.done(ctx, claimed(ctx), "kit 2")
    assert [getattr(node(ctx, name), "state", "") for name in ("node2", "node3")] == ["active", "active"]
    clock.forward(650 * 86400)
    assert renewing.renew(ctx, "kit 2") is None
    clock.forward(25 * 86400)
    with ctx.db.write() as session:
        session.get_one(Node, "node2").silent_since = clock()
    assert renewing.renew(ctx, "kit 2") == "node3"


def test_who_is_to_go_is_not_made_anew(ctx: Context, admin: Caller, clock: Clock) -> None:
    added(ctx, admin)
    adding.remove(ctx, admin, "node2")
    adding.failed(ctx, claimed(ctx), GarageError("ssh_failed", "it is off"))
    clock.forward(3600)
    assert renewing.renew(ctx, "kit 2") is None


def test_removing_waits_for_machines_and_takes_everything_away(ctx: Context, admin: Caller, alice: Caller) -> None:
    added(ctx, admin)
    with ctx.db.write() as session:
        session.get_one(Node, "node1").state = "maintenance"
    made = machines.create(ctx, alice, NewMachine(name="one", size="tiny"))
    with refused("in_use") as caught:
        adding.remove(ctx, admin, "node2")
    assert "one" in caught.value.message
    with refused("wrong_state"):
        adding.remove(ctx, admin, "node1")
    with refused("not_found"):
        adding.remove(ctx, admin, "node9")
    with ctx.db.write() as session:
        session.get_one(Machine, made.id).state = State.GONE.value
    adding.certified(ctx, "node2", "libvirt", "def", 2e9)
    adding.remove(ctx, admin, "node2")
    task = claimed(ctx)
    adding.void(ctx, task)
    assert nodes.authenticate(ctx, "token of node2") is None
    assert [serial for serial, _ in adding.revoked(ctx)] == ["def"]
    adding.gone(ctx, task, ["node2: it is off"])
    assert node(ctx, "node2") is None
    assert adding.get(ctx, admin, "node2").said == "node2: it is off"
    with ctx.db.read() as session:
        actions = list(session.scalars(select(Audit.action).where(Audit.subject == "node2").order_by(Audit.id)))
    assert actions == ["node.add", "node.remove", "node.removed"]


def test_another_node_has_no_say_in_what_the_site_is_called(ctx: Context, admin: Caller) -> None:
    added(ctx, admin)
    before = own_site.own(ctx)
    lie = {"site": "evil", "domain": "evil.example", "ipv4": "10.99.16.0/20", "ipv6": "fd99:1:2::/48"}
    nodes.report(ctx, "node2", wire.Report(node="node2", applied_version=1, **lie))
    assert own_site.own(ctx) == before
    with ctx.db.read() as session:
        assert own_site.allotted(session) is None
