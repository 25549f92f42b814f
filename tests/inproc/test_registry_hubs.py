"""The registry beyond the mesh: who becomes a hub, and how few a join changes."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from garage.core.topology import LIMIT
from garage.db.overlay_models import Link, Site
from garage.errors import GarageError
from garage.services import sites, tending
from garage.services.context import Caller, Context
from tests.conftest import Clock
from tests.inproc.overlay_nodes import FakeNode, agree, member, settle


def test_beyond_the_mesh_a_join_changes_few(ctx: Context, admin: Caller, clock: Clock) -> None:
    sites.configure(ctx, admin, mesh_sites=8)
    nodes: list[FakeNode] = []
    for n in range(1, 31):
        before = {node.site: node.versions[0] for node in nodes}
        nodes.append(member(ctx, admin, f"site{n}", n))
        for node in nodes:
            node.poll()
        if n > 12:
            changed = [node.site for node in nodes[:-1] if node.versions[0] != before[node.site]]
            assert len(changed) <= 10
        settle(ctx, clock, nodes, rounds=2)
    settle(ctx, clock, nodes, rounds=12)
    agree(nodes)
    assert all(len(node.spec.links) >= 2 for node in nodes)
    with ctx.db.read() as session:
        assert len(list(session.scalars(select(Link)))) < 30 * 29 / 4
        assert any(site.hub for site in session.scalars(select(Site)))


def hubs(ctx: Context, admin: Caller) -> set[str]:
    return {site.name for site in sites.listing(ctx, admin) if site.hub}


def test_nodes_whose_kernel_carries_the_links_are_hubs_before_others(ctx: Context, admin: Caller, clock: Clock) -> None:
    sites.configure(ctx, admin, mesh_sites=4)
    strong = {"site1", "site3", "site5"}  # those that are hubs stay hubs: the fifth site ends the mesh
    nodes = [member(ctx, admin, name := f"site{n}", n, kernel=name in strong) for n in range(1, 13)]
    settle(ctx, clock, nodes)
    assert hubs(ctx, admin) == strong
    assert {site.name for site in sites.listing(ctx, admin) if any(node.kernel for node in site.nodes)} == strong


def test_a_hub_carries_more_once_its_kernel_does(ctx: Context, admin: Caller) -> None:
    """It is the only site that others can reach."""
    sites.configure(ctx, admin, mesh_sites=2)
    hub = member(ctx, admin, "hub", 250)
    for n in range(1, 61):
        member(ctx, admin, f"site{n}", n, endpoints=("192.168.1.5:51820",))
    hub.poll()
    assert 30 < len(hub.spec.links) <= LIMIT
    hub.report(kernel=True)
    while tending.tend(ctx):
        pass
    hub.poll()
    assert LIMIT < len(hub.spec.links) == 60


def test_a_site_whose_operators_do_not_want_it_is_no_hub(ctx: Context, admin: Caller, clock: Clock) -> None:
    sites.configure(ctx, admin, mesh_sites=4)
    nodes = [member(ctx, admin, f"site{n}", n) for n in range(1, 13)]
    settle(ctx, clock, nodes)
    before = hubs(ctx, admin)
    unwilling = min(before)
    assert sites.relay(ctx, admin, unwilling, may=False).relay is False
    settle(ctx, clock, nodes)
    assert unwilling not in hubs(ctx, admin)
    assert len(hubs(ctx, admin)) == len(before)
    agree(nodes)
    with pytest.raises(GarageError, check=lambda error: error.code == "not_found"):
        sites.relay(ctx, admin, "nowhere", may=True)
