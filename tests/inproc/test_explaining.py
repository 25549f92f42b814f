"""Why a machine is where it is, as services and API say it; and the labels that placement looks at."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from flask import Flask

import web
from garage.core.states import Event
from garage.db.models import Node
from garage.errors import GarageError
from garage.services import api_tokens, explaining, fleet, machines, nodes
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from tests.inproc.served import play
from web import catalogue
from web.i18n import translate_error


def of_all_kinds(ctx: Context, admin: Caller) -> Context:
    """Four nodes: one as usual, one that is emptied, one that is silent, one with a GPU and little memory."""
    ctx = replace(ctx, config=replace(ctx.config, site_ipv4=fleet.PREFIX4))
    fleet.add_nodes(ctx, 3, fleet.Model(vcpus=8, memory_mib=4096, disk_gib=100))
    with ctx.db.write() as session:
        session.get_one(Node, "sim1").state = "draining"
        session.get_one(Node, "sim2").silent_since = ctx.clock()
    nodes.label(ctx, admin, "sim3", {"gpu": "rtx3090", "room": "lab2"})
    return ctx


@pytest.fixture
def several(ctx: Context, admin: Caller) -> Context:
    return of_all_kinds(ctx, admin)


@pytest.fixture
def app(several: Context) -> Flask:
    from garage.api.app import make_flask

    catalogue.compile_all()
    made = make_flask(several, translate=translate_error)
    web.register(made, several)
    return made


def refused(code: str):
    return pytest.raises(GarageError, check=lambda error: error.code == code)


def lacks(outlook: explaining.Outlook) -> dict[str, list[str]]:
    return {each.node: [lack.what for lack in each.lacks] for each in outlook.nodes}


def test_what_each_node_lacks(several: Context, alice: Caller) -> None:
    found = explaining.would(several, alice, explaining.Wish(size="tiny"))
    assert (found.node, found.total, found.fitting) == ("node1", 4, 2)
    assert lacks(found) == {"node1": [], "sim3": [], "sim1": ["state"], "sim2": ["silent"]}
    assert found.lacking == {"state": 1, "silent": 1}
    labelled = explaining.would(several, alice, explaining.Wish(size="medium", node_label=["gpu=rtx3090"]))
    assert labelled.node is None
    assert lacks(labelled)["sim3"] == ["memory"]
    assert set(lacks(labelled)["sim2"]) == {"silent", "labels", "memory"}


def test_then_and_now(several: Context, admin: Caller, alice: Caller) -> None:
    made = machines.create(several, alice, NewMachine(name="one", size="small", apart="db"))
    assert made.node == "node1"
    nodes.label(several, admin, "node1", {"gpu": "old"})
    with several.db.write() as session:
        session.get_one(Node, "node1").hypervisor_error = "away"
    found = explaining.explain(several, alice, "one")
    assert found.then["fitting"] == 2
    assert found.then["second"]["node"] == "sim3"
    assert found.now is not None
    assert found.now.node == "sim3"
    assert [each.node for each in found.now.nodes if each.here] == ["node1"]
    assert lacks(found.now)["node1"] == ["away"], "it does not stand in its own way"
    play(several, made.id, Event.DELETE, Event.DELETED)
    assert explaining.explain(several, alice, made.id).now is None


def test_labels_are_set_and_removed_by_admins(several: Context, admin: Caller, alice: Caller) -> None:
    assert nodes.label(several, admin, "sim3", {"room": "", "disk": "nvme"}).labels == {
        "gpu": "rtx3090",
        "disk": "nvme",
    }
    with refused("forbidden"):
        nodes.label(several, alice, "sim3", {"a": "b"})
    with refused("not_found"):
        nodes.label(several, admin, "nowhere", {"a": "b"})
    with refused("invalid_field"):
        nodes.label(several, admin, "sim3", {f"k{number}": "v" for number in range(15)})


def test_over_the_api(several: Context, app: Flask, admin: Caller, alice: Caller) -> None:
    token = api_tokens.create(several, alice, "test")[1]
    headers = {"Authorization": f"Bearer {token}", "Accept-Language": "ja", "Idempotency-Key": "k1"}
    client = app.test_client()
    asked: dict[str, Any] = {"name": "web", "size": "tiny", "count": 2, "apart": "web"}
    made = client.post("/api/v1/machines", json=asked, headers=headers)
    assert made.status_code == 201, made.text
    assert [item["name"] for item in made.json["items"]] == ["web-1", "web-2"]  # type: ignore[index]
    assert len({item["node"] for item in made.json["items"]}) == 2  # type: ignore[index]
    again = client.post("/api/v1/machines", json=asked, headers=headers)
    assert again.json == made.json
    assert len(machines.listing(several, alice).items) == 2
    refused = client.post(
        "/api/v1/machines", json=asked | {"name": "w3", "count": 3}, headers=headers | {"Idempotency-Key": "k2"}
    )
    assert refused.status_code == 409, refused.text
    asked_of = client.get("/api/v1/placement?size=tiny&apart=web&node_label=gpu=rtx3090", headers=headers)
    found = {each["node"]: each["lacks"] for each in asked_of.json["nodes"]}  # type: ignore[index]
    assert [lack["what"] for lack in found["node1"]] == ["labels", "apart"]
    assert found["node1"][0]["text"] == "ラベル gpu=rtx3090 がありません"
    explained = client.get("/api/v1/machines/web-1/explain", headers=headers).json
    assert explained is not None
    assert explained["then"]["parts"].keys() == {"spread"}
