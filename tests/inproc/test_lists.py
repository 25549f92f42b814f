"""Long lists: filters, orders, and pages that neither repeat nor leave out anything."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
from flask.testing import FlaskClient

from garage.api.app import make_flask
from garage.core.states import Event
from garage.db.models import Machine
from garage.services import api_tokens, fleet, machines, projects
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from tests.conftest import Clock
from tests.inproc.served import play


class Lists:
    """Whoever reads lists."""

    def __init__(self, flask: FlaskClient, token: str) -> None:
        self._flask, self._headers = flask, {"Authorization": f"Bearer {token}"}

    def page(self, path: str, **query: Any) -> Any:
        found = self._flask.get(f"/api/v1{path}?{urlencode(query)}", headers=self._headers)
        assert found.status_code == 200, found.data
        return found.json

    def names(self, path: str, **query: Any) -> list[str]:
        """Page by page, two at a time."""
        found, cursor = list[str](), None
        while True:
            page = self.page(path, limit=2, **query, **({"cursor": cursor} if cursor else {}))
            assert len(page["items"]) <= 2
            found += [item["name"] for item in page["items"]]
            if (cursor := page["cursor"]) is None:
                return found


@pytest.fixture
def lists(ctx: Context, clock: Clock, admin: Caller, alice: Caller, bob: Caller) -> Lists:
    """Five machines of two people, leases in another order than names."""
    projects.set_quota(ctx, admin, "alice", {"machines": 10, "vcpus": 20})
    projects.create(ctx, alice, "arms")
    for number, (name, project, size) in enumerate(
        (("e", None, "tiny"), ("d", "arms", "tiny"), ("c", None, "small"), ("b", "arms", "small"))
    ):
        clock.forward(1)  # ids grow with it
        machines.create(ctx, alice, NewMachine(name, project=project, size=size, lease_days=9 - number))
    clock.forward(1)
    his = machines.create(ctx, bob, NewMachine("a", size="tiny", lease_days=20))
    play(ctx, his.id, Event.STARTED, Event.ANSWERED)
    return Lists(make_flask(ctx).test_client(), api_tokens.create(ctx, admin, "test")[1])


def test_machines_are_filtered(lists: Lists) -> None:
    assert lists.names("/machines") == ["a", "b", "c", "d", "e"]
    assert lists.names("/machines", owner="alice", size="tiny") == ["d", "e"]
    assert lists.names("/machines", owner="nobody") == []
    assert lists.names("/machines", project="arms", sort="name") == ["b", "d"]
    assert lists.names("/machines", state="ready") == ["a"]
    assert lists.names("/machines", node="node1", image="debian-12", state="preparing") == ["b", "c", "d", "e"]
    assert lists.names("/machines", image="other") == lists.names("/machines", node="node9") == []


def test_machines_are_found_by_name_or_address(lists: Lists) -> None:
    first = lists.page("/machines", limit=1)["items"][0]
    assert lists.names("/machines", search=first["ipv4"]) == [first["name"]]
    assert lists.names("/machines", search=first["ipv6"]) == [first["name"]]
    assert lists.names("/machines", search="10.31.0.") == ["a", "b", "c", "d", "e"]
    assert lists.names("/machines", search="a") == ["a"]
    assert lists.names("/machines", search="%") == []
    assert lists.names("/machines", search="b.arms") == lists.names("/machines", search="b.ar") == ["b"]
    assert lists.names("/machines", search="b.arms.") == lists.names("/machines", search="b.arms.home") == ["b"]
    assert lists.names("/machines", search=".arms") == lists.names("/machines", search="arms") == ["b", "d"]
    assert lists.names("/machines", search="b.alice") == lists.names("/machines", search="arm") == []


def test_machines_come_in_each_order(lists: Lists) -> None:
    assert lists.names("/machines", sort="name") == ["a", "b", "c", "d", "e"]
    assert lists.names("/machines", sort="lease") == ["b", "c", "d", "e", "a"]
    assert lists.names("/machines", sort="state") == ["e", "d", "c", "b", "a"]


@pytest.mark.parametrize("sort", ["newest", "name", "state", "lease"])
def test_a_page_stays_right_while_machines_come_and_go(lists: Lists, ctx: Context, alice: Caller, sort: str) -> None:
    first = lists.page("/machines", sort=sort, limit=2)
    machines.create(ctx, alice, NewMachine("later", size="tiny"))
    with ctx.db.write() as session:
        session.get_one(Machine, first["items"][0]["id"]).state = "gone"
    second = lists.page("/machines", sort=sort, limit=200, cursor=first["cursor"])
    assert not {item["id"] for item in first["items"]} & {item["id"] for item in second["items"]}
    assert {"a", "b", "c", "d", "e"} <= {item["name"] for page in (first, second) for item in page["items"]}


def test_people_projects_and_nodes_come_by_name(lists: Lists, ctx: Context) -> None:
    fleet.add_nodes(ctx, 4)
    assert lists.names("/users") == ["alice", "bob", "root-admin"]
    assert lists.names("/users", search="o") == ["bob", "root-admin"]
    assert lists.names("/projects") == ["alice", "arms", "bob", "root-admin"]
    assert lists.names("/nodes") == ["node1", "sim1", "sim2", "sim3", "sim4"]
    assert lists.names("/nodes", search="sim") == ["sim1", "sim2", "sim3", "sim4"]
