"""What every route of `/api/v1` gives: once-only mutations, conditional requests, request ids, rate limits, field errors."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import update

from garage import tracing
from garage.api import conditional, going
from garage.api.app import make_flask
from garage.core.rates import WINDOW, Rates
from garage.core.states import State
from garage.db.models import Machine, Node
from garage.db.volume_models import Volume
from garage.services import api_tokens, machines, nodes
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from netd import wire
from tests.conftest import NODE_TOKEN
from tests.inproc.route_bodies import BODIES, body_of
from tests.inproc.route_world import ASYNC, World, world
from tests.inproc.served import Served, serving, wait_until
from tests.inproc.test_every_route import OPERATIONS

__all__ = ["world"]  # a fixture

WITHOUT_KEY = {
    ("POST", "/login"): "nobody is signed in yet to whom a key could belong",
    ("POST", "/node-logins"): "its body is a password, of which no digest shall be kept",
    ("POST", "/node-host-keys"): "it looks at a server and changes nothing",
    ("PUT", "/image-tasks/{ref}/file"): "parts of a file: one that comes twice is the same file",
    ("POST", "/restore"): "it replaces the keys' own table",
}
"""Mutations that take no Idempotency-Key, and why."""
CHANGING = [operation for operation in OPERATIONS if operation[0] not in ("GET", "HEAD")]


NOT_DONE = {
    ("POST", "/nodes/{ref}/maintenance"): "machines run there, and only a worker moves them",
    ("DELETE", "/projects/{ref}"): "it has machines, and only a worker ends them",
    ("DELETE", "/nodes/{ref}"): "the controller's own server is never removed",
}
"""Mutations that nothing in this file's world lets succeed, and why."""
ALICES = {
    *(("POST", "/news/{ref}/read"), ("POST", "/machines/{ref}/disk-copy")),
    *(("DELETE", f"/{kind}/{{ref}}") for kind in ("keys", "tokens", "sessions")),
}
"""Done by her: of one's own alone, or one more than an admin may have on the way at once."""
STATES = {
    **{("POST", f"/machines/{{ref}}/{act}"): "stopped" for act in ("start", "disk-copy")},
    **{("POST", f"/machines/{{ref}}/{act}"): "ready" for act in ("stop", "reboot")},
    ("POST", "/volumes/{ref}/detach"): "ready",
}
"""What the machine is, since no worker makes it so."""


def at_rest(world: World, state: str | None) -> None:
    """Play the worker: a volume's revert is done, and alice's machine in `state`, where one is given."""
    with world.ctx.db.write() as session:
        session.execute(update(Volume).where(Volume.revert_to != "").values(state="available", revert_to=""))
        session.execute(update(Machine).where(Machine.state == "stopped").values(wants_running=False))
        if state:
            machine = session.get_one(Machine, world.refs["machines"])
            machine.state, machine.wants_running = State(state), state == "ready"


LATE = ("/disable", "/enable", "/offboard")


def one_after_another() -> list[tuple[str, str]]:
    """In an order in which each finds what it needs: reverting first, then those with a body as their table has them, what is deeper
    before what it is part of, and what ends alice last."""
    bodies = {operation: number for number, operation in enumerate(BODIES)}

    def rank(operation: tuple[str, str]) -> tuple[bool, bool, bool, int, int]:
        method, path = operation
        depth = -path.count("/") if method == "DELETE" else 0
        order = bodies.get(operation, len(bodies))
        return path.endswith(LATE), method == "DELETE", not path.endswith("/revert"), depth, order

    return sorted((each for each in CHANGING if each not in WITHOUT_KEY and each[1] not in ASYNC), key=rank)


def documented(operation: tuple[str, str]) -> set[str]:
    return {known["name"] for known in OPERATIONS[operation].get("parameters", []) if known["in"] == "header"}


def test_every_mutation_takes_an_idempotency_key_and_a_condition() -> None:
    assert set(WITHOUT_KEY) <= set(CHANGING)
    without = {operation for operation in CHANGING if not {"Idempotency-Key", "If-Match"} <= documented(operation)}
    assert without == set(WITHOUT_KEY)


def test_every_mutation_acts_once_with_a_key(world: World) -> None:
    """What is done is answered again, word for word, and nothing more happens."""
    refused = set()
    for number, operation in enumerate(one_after_another()):
        at_rest(world, STATES.get(operation))
        who = "alice" if operation in ALICES else "root-admin"
        headers = {"Authorization": f"Bearer {world.tokens[who]}", "Idempotency-Key": f"key-{number}"}
        at, body = world.path(operation[1]), body_of(world, operation)
        first = world.flask.open(at, method=operation[0], json=body, headers=headers)
        before = world.everything()
        again = world.flask.open(at, method=operation[0], json=body, headers=headers)
        if first.status_code >= 400:
            refused.add(operation)
            print(operation, first.data)  # which, where it should not be
            continue
        assert (again.status_code, again.data) == (first.status_code, first.data), operation
        assert again.headers["Idempotency-Replayed"] == "true", operation
        assert world.everything() == before, operation
    assert refused == set(NOT_DONE)


def test_no_mutation_is_done_on_what_has_changed(world: World) -> None:
    before = world.everything()
    for operation in CHANGING:
        if operation in WITHOUT_KEY or operation[1] in ASYNC:
            continue
        headers = {"Authorization": f"Bearer {world.tokens['root-admin']}", "If-Match": '"of another time"'}
        answer = world.flask.open(
            world.path(operation[1]), method=operation[0], json=body_of(world, operation), headers=headers
        )
        assert answer.status_code in (400, 404, 412), (operation, answer.data)
        if answer.status_code == 412:
            assert answer.json["code"] == "version_conflict"
            assert answer.json["hint"]
    assert world.everything() == before


@pytest.fixture
def flask(ctx: Context) -> FlaskClient:
    return make_flask(ctx).test_client()


@pytest.fixture
def as_admin(ctx: Context, admin: Caller) -> dict[str, str]:
    return {"Authorization": f"Bearer {api_tokens.create(ctx, admin, 'test')[1]}"}


def test_what_was_read_may_be_changed_until_somebody_else_has(
    flask: FlaskClient, as_admin: dict[str, str], alice: Caller
) -> None:
    def quota(machines: int, condition: str) -> Any:
        headers = {**as_admin, "If-Match": condition}
        return flask.put("/api/v1/projects/alice/quota", json={"machines": machines}, headers=headers)

    read = flask.get("/api/v1/projects/alice", headers=as_admin)
    assert quota(7, read.headers["ETag"]).status_code == 200
    refused = quota(8, read.headers["ETag"])
    assert (refused.status_code, refused.json["code"]) == (412, "version_conflict")
    now = flask.get("/api/v1/projects/alice", headers=as_admin)
    assert now.json["usage"]["quota"]["machines"] == 7
    assert now.headers["ETag"] != read.headers["ETag"]
    assert quota(9, f'"other", {now.headers["ETag"]}').status_code == 200
    assert quota(10, "*").status_code == 200


def test_what_a_node_measures_is_news_and_no_change(ctx: Context, flask: FlaskClient, as_admin: dict[str, str]) -> None:
    def labels(etag: str, **wanted: str) -> int:
        headers = {**as_admin, "If-Match": etag}
        return int(flask.patch("/api/v1/nodes/node1/labels", json={"labels": wanted}, headers=headers).status_code)

    read = flask.get("/api/v1/nodes/node1", headers=as_admin).headers["ETag"]
    with ctx.db.write() as session:
        session.get_one(Node, "node1").reported_at = ctx.clock() + 7
    known = {**as_admin, "If-None-Match": read}
    assert flask.get("/api/v1/nodes/node1", headers=known).status_code == 200
    assert labels(read, gpu="none") == 200
    assert labels(read, gpu="l4") == 412


def test_what_people_named_is_no_measurement() -> None:
    versions = {
        conditional.tag(json.dumps({"reported_at": at, "labels": {"used": used}}).encode()).partition("-")[0]
        for at, used in ((1, "a"), (2, "a"), (2, "b"))
    }
    assert len(versions) == 2


def test_a_repeated_request_is_answered_again_though_its_condition_has_passed(
    flask: FlaskClient, as_admin: dict[str, str], alice: Caller
) -> None:
    headers = {**as_admin, "Idempotency-Key": "k"}
    headers["If-Match"] = flask.get("/api/v1/projects/alice", headers=as_admin).headers["ETag"]
    for _ in range(2):
        assert flask.put("/api/v1/projects/alice/quota", json={"machines": 7}, headers=headers).status_code == 200


def test_what_has_not_changed_is_not_sent_again(flask: FlaskClient, as_admin: dict[str, str]) -> None:
    read = flask.get("/api/v1/machines", headers=as_admin)
    again = flask.get("/api/v1/machines", headers={**as_admin, "If-None-Match": read.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_each_wrong_field_is_pointed_at(flask: FlaskClient, as_admin: dict[str, str]) -> None:
    body = {"name": 7, "lease_days": "long", "colour": "red"}
    answer = flask.post("/api/v1/machines", json=body, headers=as_admin)
    assert answer.status_code == 422
    assert {error["pointer"] for error in answer.json["errors"]} == {"/name", "/lease_days", "/colour"}
    assert all(error["detail"] for error in answer.json["errors"])
    assert answer.json["detail"] == answer.json["errors"][0]["detail"]


@pytest.fixture
def served(ctx: Context, admin: Caller) -> Iterator[Served]:
    with serving(replace(ctx, config=replace(ctx.config, rate_caller=40))) as running:
        yield running


def test_a_request_has_an_id_in_the_answer_the_log_the_machine_and_its_nodes_news(
    served: Served, ctx: Context, alice: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.handler.addFilter(tracing.Stamp())
    caplog.set_level(logging.INFO)
    headers = {**served.as_(alice), "X-Request-Id": "mine-1"}
    made = served.http.post("/api/v1/machines", json={"name": "one", "size": "tiny"}, headers=headers)
    assert made.headers["X-Request-Id"] == "mine-1"
    with ctx.db.read() as session:
        assert session.get_one(Machine, made.json()["id"]).request == "mine-1"
    wait_until(lambda: [r for r in caplog.records if r.name == "garage.access" and "mine-1" in r.request])
    spec = served.http.get("/node/v1/spec?after=0", headers={"Authorization": f"Bearer {NODE_TOKEN}"})
    assert spec.headers["Garage-Requests"] == "mine-1"
    version = wire.unseal(spec.content, ctx.controller_key.public_key(), node="node1").version
    assert nodes.asked_by(ctx, "node1", version) == []


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "ä"])
def test_an_unusable_id_is_replaced(served: Served, given: str) -> None:
    answered = served.http.get("/healthz", headers={"X-Request-Id": given.encode()})
    assert tracing.usable(answered.headers["X-Request-Id"])
    assert answered.headers["X-Request-Id"] != given


def test_who_asks_too_often_is_told_when_to_come_again(served: Served, alice: Caller, bob: Caller) -> None:
    hers, his = served.as_(alice), served.as_(bob)
    first = served.http.get("/api/v1/me", headers=hers)
    assert first.headers["RateLimit-Policy"] == '"caller";q=40;w=60'
    assert first.headers["RateLimit"].startswith('"caller";r=39;t=')
    answers = [served.http.get("/api/v1/me", headers=hers) for _ in range(200)]
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["code"] == "too_many_requests"
    assert refused.headers["content-type"] == "application/problem+json"
    assert int(refused.headers["Retry-After"]) >= 1
    assert served.http.get("/api/v1/me", headers=his).status_code == 200
    assert served.http.get("/healthz").status_code == 200


def test_a_bucket_fills_evenly_and_forgets_whoever_was_away() -> None:
    rates = Rates("caller", 60)
    assert [rates.take("a", 0.0).remaining for _ in range(60)] == list(range(59, -1, -1))
    refused = rates.take("a", 0.0)
    assert (refused.wait, refused.remaining, refused.reset) == (1, 0, WINDOW)
    assert rates.take("b", 0.0).wait == 0
    assert rates.take("a", 1.0).wait == 0
    assert rates.take("a", 1.5).wait == 1
    assert rates.take("a", 1000.0).remaining == 59


def test_a_machine_keeps_the_request_while_the_worker_goes_on(ctx: Context, alice: Caller) -> None:
    asked = replace(ctx, request="r-1")
    made = machines.create(asked, alice, NewMachine(name="one"))
    machines.delete(ctx, alice, made.id)
    with ctx.db.read() as session:
        assert session.get_one(Machine, made.id).request == "r-1"


def test_what_is_to_go_says_so(
    ctx: Context, flask: FlaskClient, as_admin: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    since, until = datetime(2027, 1, 1, tzinfo=UTC), datetime(2027, 9, 1, tzinfo=UTC)
    monkeypatch.setitem(going.GOING, ("GET", "/api/v1/nodes/{ref}"), going.Going(since, until))
    told = flask.get("/api/v1/nodes/node1", headers=as_admin).headers
    assert (told["Deprecation"], told["Sunset"]) == ("@1798761600", "Wed, 01 Sep 2027 00:00:00 GMT")
    assert "Sunset" not in flask.get("/api/v1/nodes", headers=as_admin).headers
    paths = flask.get("/api/v1/openapi.json").json["paths"]
    assert paths["/api/v1/nodes/{ref}"]["get"]["deprecated"]
    with pytest.raises(ValueError, match="six months"):
        going.Going(since, datetime(2027, 3, 1, tzinfo=UTC))
