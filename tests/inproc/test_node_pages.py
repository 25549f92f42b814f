"""The pages of a node: for admins alone, in both languages; what its buttons do and refuse."""

from __future__ import annotations

import pytest

from garage.core.types import Demand
from garage.db.models import Node
from garage.errors import GarageError
from garage.services import directory, fleet, nodes
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine, create
from tests.inproc.test_pool_pages import browser
from web import catalogue


@pytest.fixture(autouse=True)
def compiled() -> None:
    catalogue.compile_all()


def test_an_admin_empties_a_node_and_takes_it_back(ctx: Context, admin: Caller, alice: Caller) -> None:
    create(ctx, alice, NewMachine(name="arm-test", size="tiny"))
    page, node = browser(ctx, admin, admin), ctx.config.node
    assert f'href="/nodes/{node}"' in page.get("/nodes").text
    shown = page.get(f"/nodes/{node}", Accept_Language="ja").text
    assert "arm-test.alice" in shown
    assert "機械を受け入れられるノードがほかにありません" in shown
    assert page.post(f"/nodes/{node}/maintenance").status_code == 409, "a machine is about to run there"
    assert page.post(f"/nodes/{node}/drain").status_code == 303
    assert "is being emptied" in page.get("/nodes").text
    assert page.post(f"/nodes/{node}/activate").status_code == 303
    assert page.post(f"/nodes/{node}/activate").status_code == 409
    with ctx.db.read() as session:
        assert session.get_one(Node, node).state == "active"


def test_members_see_states_and_change_nothing(ctx: Context, admin: Caller, alice: Caller) -> None:
    page, node = browser(ctx, admin, alice), ctx.config.node
    assert f"/nodes/{node}" not in page.get("/nodes").text
    assert page.get(f"/nodes/{node}").status_code == 403
    assert page.post(f"/nodes/{node}/drain").status_code == 403
    assert browser(ctx, admin, admin).get("/nodes/nowhere").status_code == 404


def test_the_fault_that_is_ours_is_a_banner_for_admins(ctx: Context, admin: Caller, alice: Caller) -> None:
    with ctx.db.write() as session:
        for name in ("node2", "node3"):
            session.add(Node(name=name, hypervisor="fake://", silent_since=ctx.clock(), hypervisor_error="gone"))
    banner = "the fault is probably ours"
    assert banner in browser(ctx, admin, admin).get("/nodes").text
    assert banner not in browser(ctx, admin, alice).get("/nodes").text


def test_those_who_see_everything_see_what_is_promised_and_by_which_rules(
    ctx: Context, admin: Caller, alice: Caller
) -> None:
    fleet.add_nodes(ctx, 2, fleet.Model(vcpus=8, memory_mib=9216, disk_gib=105))
    create(ctx, alice, NewMachine(name="arm-test", size="small"))
    page = browser(ctx, admin, admin)
    shown, japanese = page.get("/nodes").text, page.get("/nodes", Accept_Language="ja").text
    for text in ("All of them together", "Promised to machines", "Limits and reserves in force", "5000 IOPS"):
        assert text in shown
    assert "いまの上限と取り置き" in japanese
    assert "All of them together" not in browser(ctx, admin, alice).get("/nodes").text
    [empty] = directory.known_nodes(ctx, alice, search="sim2", limit=1).items
    assert empty.most == Demand(32, 8192, 312), "4 and 3 times what there is, without 1 GiB of memory and 1 of disk"
    whole = nodes.whole(ctx, admin)
    assert (whole.nodes, whole.taking, whole.machines) == (3, 3, 1)
    assert (whole.promised.vcpus, whole.promised.memory_mib) == (2, 2048)
    with pytest.raises(GarageError, match="only an admin or an auditor"):
        nodes.whole(ctx, alice)
