"""services.placing: what the database hands over is enough, what nodes hold is always their machines' sum, quotas hold under a crowd."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import select

from garage.core.placement import POLICIES, place
from garage.core.states import State
from garage.db import loads
from garage.db.models import Image, Machine, Node, Size
from garage.db.node_models import NodeImage, NodeLoad
from garage.errors import GarageError
from garage.services import capacity, fleet, machines, placing, projects
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine

AMPLE = {"machines": 10_000, "vcpus": 100_000, "memory_mib": 1 << 30, "disk_gib": 1 << 20}


def refused(code: str):
    return pytest.raises(GarageError, check=lambda error: error.code == code)


def drift(ctx: Context) -> list[str]:
    with ctx.db.engine.connect() as connection:
        return loads.drift(connection)


def shuffle(ctx: Context, rng: random.Random, nodes: list[str]) -> None:
    """Nodes of all kinds: full and empty ones, labelled, silent, draining, with the image and with machines that wait."""
    with ctx.db.write() as session:
        image = session.scalars(select(Image)).first()
        assert image is not None
        for node in session.scalars(select(Node).where(Node.name.in_(nodes))):
            node.facts = node.facts | {
                "memory_mib": rng.choice([4096, 8192, 65_536]),
                "memory_available_mib": rng.choice([None, None, 3000, 6000]),
                "disk_free_gib": rng.choice([0.5, 200.0, 200.0, 200.0]),
            }
            node.labels = rng.choice([{}, {"gpu": "a"}, {"gpu": "b", "room": "x"}])
            node.state = rng.choice(["active", "active", "active", "draining"])
            node.silent_since = rng.choice([None, None, None, 1.0])
            node.hypervisor_error = rng.choice(["", "", "", "away"])
            if rng.random() < 0.4:
                session.merge(NodeImage(node=node.name, image=image.sha256, state="present", since=0.0))
        for machine in session.scalars(select(Machine)):
            machine.state = rng.choice(["ready", "stopped", "spare", "gone", "lost"])
            machine.apart = rng.choice(["", "", "db"])
            machine.moving_to = rng.choice([None, None, rng.choice(nodes)])
            machine.warm = machine.state == "spare"


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("seed", range(4))
def test_the_best_few_are_as_good_as_all(ctx: Context, admin: Caller, policy: str, seed: int) -> None:
    rng = random.Random(seed)
    config = replace(ctx.config, site_ipv4=fleet.PREFIX4, placement_policy=policy)
    ctx = replace(ctx, config=config)
    nodes = fleet.add_nodes(ctx, 25, fleet.Model(vcpus=8, memory_mib=8192, disk_gib=200))
    fleet.add_machines(ctx, 60, rng.choices(nodes, k=13))
    shuffle(ctx, rng, nodes)
    assert drift(ctx) == []
    with ctx.db.read() as session:
        project, image = session.scalars(select(Machine.project_id)).first(), session.scalars(select(Image)).first()
        assert project
        assert image
        for labels in ({}, {"gpu": "a"}, {"gpu": "b", "room": "x"}):
            for apart in ("", "db"):
                for count in (1, 3, 30):
                    size = session.get_one(Size, rng.choice(["tiny", "small"]))
                    order = placing.Order(project, image, size, labels, apart, early=rng.choice([(), (), ("bootcmd",)]))
                    few, fitting = placing.candidates(session, config, order, count)
                    every = placing.every_room(session, ctx, order)
                    chosen = [each.chosen for each in place(few, order.ask, policy, count)]
                    assert chosen == [each.chosen for each in place(every, order.ask, policy, count)]
                    fit = [each for each in every if place([each], order.ask, policy)]
                    assert (fitting == 0) == (fit == [])


def test_what_nodes_hold_follows_every_change(ctx: Context, admin: Caller) -> None:
    rng, ctx = random.Random(5), replace(ctx, config=replace(ctx.config, site_ipv4=fleet.PREFIX4))
    nodes = fleet.add_nodes(ctx, 4)
    fleet.add_machines(ctx, 40, nodes)
    for _ in range(60):
        with ctx.db.write() as session:
            for machine in rng.sample(list(session.scalars(select(Machine).order_by(Machine.id))), 5):
                machine.state = rng.choice(list(State)).value
                machine.node = rng.choice(nodes)
                machine.moving_to = rng.choice([None, *nodes])
                machine.memory_mib = rng.choice([512, 2048])
            if rng.random() < 0.1 and (last := session.scalars(select(Machine).order_by(Machine.id)).first()):
                session.delete(last)
        assert drift(ctx) == []
    with ctx.db.write() as session:
        session.execute(NodeLoad.__table__.update().values(machines=7))  # type: ignore[attr-defined]
    assert set(drift(ctx)) >= set(nodes), "this test can fail"
    with ctx.db.engine.begin() as connection:
        loads.install(connection)
    assert drift(ctx) == []


def test_several_at_once_are_all_or_none(ctx: Context, admin: Caller, alice: Caller) -> None:
    made = machines.create_many(ctx, alice, NewMachine(name="web", size="tiny"), 3)
    assert [view.name for view in made] == ["web-1", "web-2", "web-3"]
    assert len({view.ipv4 for view in made} | {view.ipv6 for view in made}) == 6
    assert len({view.host_key.split()[1] for view in made}) == 3
    for wanted, count, code in (
        (NewMachine(size="tiny"), 3, "quota_exceeded"),
        (NewMachine(name="web", size="tiny"), 1, "already_exists"),
        (NewMachine(size="tiny"), 0, "invalid_field"),
        (NewMachine(size="tiny"), 101, "invalid_field"),
        (NewMachine(name="x" * 31, size="tiny"), 2, "invalid_field"),
    ):
        with refused(code):
            machines.create_many(ctx, alice, wanted, count)
    projects.set_quota(ctx, admin, "alice", AMPLE)
    with refused("no_capacity") as caught:
        machines.create_many(ctx, alice, NewMachine(size="tiny"), 50)
    assert caught.value.message == "there is room for 27 of 50 such machines"
    assert len(machines.listing(ctx, alice).items) == 3


def test_apart_means_different_nodes_and_labels_are_kept(ctx: Context, admin: Caller, alice: Caller) -> None:
    ctx = replace(ctx, config=replace(ctx.config, site_ipv4=fleet.PREFIX4))
    nodes = fleet.add_nodes(ctx, 2)
    with ctx.db.write() as session:
        session.get_one(Node, nodes[0]).labels = {"gpu": "rtx3090"}
    pair = machines.create_many(ctx, alice, NewMachine(name="db", size="tiny", apart="db"), 3)
    assert len({view.node for view in pair}) == 3
    with refused("no_capacity"):
        machines.create(ctx, alice, NewMachine(size="tiny", apart="db"))
    wanted = NewMachine(size="tiny", node_labels={"gpu": "rtx3090"})
    assert machines.create(ctx, alice, wanted).node == nodes[0]
    with refused("no_capacity"):
        machines.create(ctx, alice, replace(wanted, node_labels={"gpu": "h100"}))
    with refused("invalid_field"):
        machines.create(ctx, alice, replace(wanted, node_labels={"GPU": "x"}))


def test_of_a_crowd_that_asks_for_several_each_only_those_in_the_quota_win(
    ctx: Context, admin: Caller, alice: Caller
) -> None:
    projects.set_quota(ctx, admin, "alice", AMPLE | {"machines": 10})

    def ask(count: int) -> int:
        try:
            return len(machines.create_many(ctx, alice, NewMachine(size="tiny"), count))
        except GarageError as error:
            assert error.code == "quota_exceeded"
            return 0

    with ThreadPoolExecutor(12) as crowd:
        won = list(crowd.map(ask, [3] * 24))
    assert sorted(won, reverse=True)[:4] == [3, 3, 3, 0]
    with ctx.db.read() as session:
        assert capacity.rooms(session, ctx)[0].used.memory_mib == 9 * 512
        assert len(set(session.scalars(select(Machine.ipv4)))) == 9


def test_a_machine_remembers_why_it_is_where_it_is(ctx: Context, admin: Caller, alice: Caller) -> None:
    ctx = replace(ctx, config=replace(ctx.config, site_ipv4=fleet.PREFIX4))
    fleet.add_nodes(ctx, 1)
    made = machines.create(ctx, alice, NewMachine(size="tiny"))
    with ctx.db.read() as session:
        why = session.get_one(Machine, made.id).placement
    assert made.node == "sim1"
    assert why == {
        "policy": "spread",
        "fitting": 2,
        "parts": {"spread": round((131_072 - 1024 - 512) / 131_072, 4)},
        "second": {"node": "node1", "parts": {"spread": round((16_384 - 1024 - 512) / 16_384, 4)}},
    }
