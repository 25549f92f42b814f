"""A simulated fleet: rows as requests and workers would have left them, and nodes that behave as their URI says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import func, select

from garage.core.states import State
from garage.db.models import Machine, Node
from garage.errors import GarageError
from garage.services import capacity, fleet
from garage.services.context import Caller, Context


def wide(ctx: Context) -> Context:
    """With a prefix for a fleet."""
    return replace(ctx, config=replace(ctx.config, site_ipv4=fleet.PREFIX4))


def test_a_fleet_has_room_machines_and_no_double(ctx: Context, admin: Caller) -> None:
    ctx = wide(ctx)
    nodes = fleet.add_nodes(ctx, 20, fleet.Model(vcpus=16, memory_mib=32_768))
    made = fleet.add_machines(ctx, 100, nodes, seed=3) + fleet.add_machines(ctx, 5000, nodes[:1], state=State.STOPPED)
    assert fleet.add_nodes(ctx, 20) == nodes, "those that exist stay"
    with ctx.db.read() as session:
        rooms = {room.name: room for room in capacity.rooms(session, ctx)}
        per_node = dict(session.execute(select(Machine.node, func.count()).group_by(Machine.node)).all())
        assert len(set(session.scalars(select(Machine.ipv4)))) == len(set(made)) == 5100
        places = session.execute(select(Machine.tap, Machine.mac)).all()
        assert [len(set(values)) for values in zip(*places, strict=True)] == [5100, 5100], "they may move"
        node = session.get_one(Node, "sim2")
    assert set(nodes) <= rooms.keys()
    assert rooms["sim3"].used.vcpus >= 5
    assert per_node == {name: 5005 if name == "sim1" else 5 for name in nodes}
    assert (node.spec_version, node.applied_version) == (6, 6)


def test_a_prefix_that_is_too_small_is_said(ctx: Context, admin: Caller) -> None:
    nodes = fleet.add_nodes(ctx, 1)
    with pytest.raises(GarageError, match="addresses of"):
        fleet.add_machines(ctx, 5000, nodes)


def test_netd_is_played(ctx: Context, admin: Caller) -> None:
    fleet.add_nodes(ctx, 2)
    with ctx.db.write() as session:
        session.get_one(Node, "sim1").spec_version = 7
    fleet.play_netd(ctx)
    with ctx.db.read() as session:
        assert session.get_one(Node, "sim1").applied_version == 7
