"""/api/v1 over Flask's test client: answers, refusals as problem+json, idempotency. Every field is tried by `test_every_route.py`."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from flask_openapi3.openapi import OpenAPI
from sqlalchemy import func, select

from garage.api.app import make_flask
from garage.db.models import ApiToken, Audit, Idempotency, Machine, Node, Session
from garage.errors import KINDS
from garage.services import accounts, api_tokens, crew, fleet, machines, outlook
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from tests.conftest import ALICE_KEY, Clock


@pytest.fixture
def app(ctx: Context) -> OpenAPI:
    return make_flask(ctx)


class Api:
    """A client with one caller's token."""

    def __init__(self, client: FlaskClient, token: str | None) -> None:
        self._client = client
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        more = {key.replace("_", "-"): value for key, value in headers.items()}
        return self._client.open(f"/api/v1{path}", method=method, json=body, headers=self._headers | more)


def api_of(app: OpenAPI, ctx: Context, who: Caller) -> Api:
    return Api(app.test_client(), api_tokens.create(ctx, who, "test")[1])


@pytest.fixture
def api(app: OpenAPI, ctx: Context, alice: Caller) -> Api:
    return api_of(app, ctx, alice)


@pytest.fixture
def admin_api(app: OpenAPI, ctx: Context, admin: Caller) -> Api:
    return api_of(app, ctx, admin)


def assert_problem(response: Any, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.content_type == "application/problem+json"
    body: dict[str, Any] = response.json
    assert body["code"] == code
    assert KINDS[code].status == status
    assert body["detail"]
    return body


def test_a_machine_through_the_api(api: Api) -> None:
    made = api("POST", "/machines", {"name": "one"})
    assert made.status_code == 201
    assert made.json["state"] == "preparing"
    assert made.json["created_at"] == "2027-01-15T08:00:00.000Z"
    assert "host_key_private" not in made.text
    assert api("GET", "/machines/one").json == made.json
    assert [m["name"] for m in api("GET", "/machines").json["items"]] == ["one"]
    assert api("POST", "/machines/one/renew", {"days": 14}).json["lease_until"] == "2027-01-29T08:00:00.000Z"
    assert_problem(api("POST", "/machines/one/stop"), 409, "wrong_state")
    assert api("DELETE", "/machines/one").json["state"] == "deleting"


def test_who_has_no_token_is_told_what_to_bring(app: OpenAPI, admin: Caller) -> None:
    for client in (Api(app.test_client(), None), Api(app.test_client(), "garage_wrong")):
        refused = client("GET", "/me")
        assert_problem(refused, 401, "not_signed_in")
        assert refused.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_session_cookie_reads_but_does_not_write(app: OpenAPI, ctx: Context, alice: Caller) -> None:
    _, cookie = accounts.sign_in(ctx, "alice", "password of alice", "192.0.2.9")
    client = app.test_client()
    client.set_cookie("garage", cookie)
    who = {"name": "alice", "role": "member", "project": "alice", "scope": "all", "auditor": False, "sites": []}
    assert client.get("/api/v1/me").json == who
    assert_problem(client.post("/api/v1/machines", json={"name": "one"}), 401, "not_signed_in")


def test_an_expired_or_revoked_token_ends(app: OpenAPI, ctx: Context, alice: Caller, clock: Clock) -> None:
    view, secret = api_tokens.create(ctx, alice, "short", days=1)
    client = Api(app.test_client(), secret)
    assert client("GET", "/me").status_code == 200
    clock.forward(86_401)
    assert_problem(client("GET", "/me"), 401, "not_signed_in")
    clock.forward(-86_401)
    api_tokens.delete(ctx, alice, view.id)
    assert_problem(client("GET", "/me"), 401, "not_signed_in")


def test_a_key_is_shown_in_the_language_of_the_caller_and_never_private(api: Api) -> None:
    assert api("POST", "/keys", {"name": "laptop", "public_key": ALICE_KEY}).status_code == 201
    again = api("POST", "/keys", {"name": "other", "public_key": ALICE_KEY})
    assert again.json["name"] == "laptop"
    private = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\n-----END OPENSSH PRIVATE KEY-----"
    problem = assert_problem(api("POST", "/keys", {"name": "bad", "public_key": private}), 422, "invalid_field")
    assert problem["errors"][0]["pointer"] == "/public_key"
    assert api("DELETE", "/keys/laptop").status_code == 204
    assert api("GET", "/keys").json == {"items": []}


def test_idempotency_keys_act_once(api: Api, ctx: Context) -> None:
    first = api("POST", "/machines", {"name": "one"}, Idempotency_Key="k1")
    second = api("POST", "/machines", {"name": "one"}, Idempotency_Key="k1")
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json == second.json
    assert second.headers["Idempotency-Replayed"] == "true"
    assert_problem(api("POST", "/machines", {"name": "two"}, Idempotency_Key="k1"), 409, "idempotency_mismatch")
    assert_problem(api("POST", "/machines", {"name": "one"}, Idempotency_Key="k2"), 409, "already_exists")
    assert (
        api("POST", "/machines", {"name": "three"}, Idempotency_Key="k2").status_code == 201
    )  # a refusal used nothing up
    with ctx.db.read() as session:
        assert session.scalar(select(func.count()).select_from(Machine)) == 2


def test_a_replayed_secret_is_not_in_clear_in_the_database(api: Api, ctx: Context) -> None:
    first = api("POST", "/tokens", {"name": "ci"}, Idempotency_Key="t1")
    assert api("POST", "/tokens", {"name": "ci"}, Idempotency_Key="t1").json == first.json
    with ctx.db.read() as session:
        stored = session.scalars(select(Idempotency)).one().body
        assert first.json["token"].encode() not in stored
        assert first.json["token"] not in {row.hash for row in session.scalars(select(ApiToken))}


def test_password_login_is_limited_per_account_and_address(
    app: OpenAPI, ctx: Context, alice: Caller, clock: Clock
) -> None:
    client = Api(app.test_client(), None)
    for _ in range(accounts.ATTEMPTS_PER_NAME):
        assert_problem(client("POST", "/login", {"name": "alice", "password": "wrong"}), 401, "wrong_credentials")
    refused = client("POST", "/login", {"name": "alice", "password": "password of alice"})
    assert_problem(refused, 429, "too_many_attempts")
    assert int(refused.headers["Retry-After"]) > 0
    clock.forward(accounts.ATTEMPT_WINDOW + 1)
    token = client("POST", "/login", {"name": "alice", "password": "password of alice"}).json["token"]
    assert Api(app.test_client(), token)("GET", "/me").json["name"] == "alice"
    with ctx.db.read() as session:
        assert session.scalar(select(func.count()).select_from(Session).where(Session.user_id == alice.user_id)) == 1


def test_an_unknown_name_and_a_wrong_password_look_the_same(app: OpenAPI, alice: Caller) -> None:
    client = Api(app.test_client(), None)
    unknown = client("POST", "/login", {"name": "nobody", "password": "x"})
    wrong = client("POST", "/login", {"name": "alice", "password": "x"})
    assert unknown.json == wrong.json


def test_people_through_the_api(app: OpenAPI, ctx: Context, admin_api: Api, api: Api) -> None:
    made = admin_api("POST", "/users", {"name": "carol"})
    assert made.status_code == 201
    token = made.json["link"].rpartition("/welcome/")[2]
    caller, _ = accounts.accept_invitation(ctx, token, "a good password", "192.0.2.7")
    with pytest.raises(Exception, match="was used"):
        accounts.accept_invitation(ctx, token, "another password", "192.0.2.7")
    carol = api_of(app, ctx, caller)
    assert carol("GET", "/projects").json["items"][0]["name"] == "carol"
    assert_problem(api("POST", "/users", {"name": "eve"}), 403, "forbidden")
    assert admin_api("POST", "/users/carol/disable").json["disabled"] is True
    assert_problem(carol("GET", "/me"), 401, "not_signed_in")


def test_the_openapi_document_is_3_1_and_names_every_route(app: OpenAPI) -> None:
    document = app.test_client().get("/api/v1/openapi.json").json
    assert document["openapi"].startswith("3.1")
    routes = {
        rule.rule.replace("<", "{").replace(">", "}")
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/v1")
    }
    assert routes - {"/api/v1/openapi.json"} <= set(document["paths"])


def test_health_and_metrics(app: OpenAPI, ctx: Context, alice: Caller) -> None:
    machines.create(ctx, alice, NewMachine(name="one"))
    client = app.test_client()
    assert client.get("/healthz").json == {"status": "ok"}
    ready = client.get("/readyz")
    assert ready.status_code == 503
    assert ready.json["parts"]["database"] is True
    assert ready.json["parts"]["netd"] is False
    text = client.get("/metrics").text
    assert 'garage_machines{state="preparing"} 1.0' in text
    assert 'garage_part_up{part="worker"} 0.0' in text


def test_one_server_that_is_away_does_not_make_the_garage_unready(ctx: Context, alice: Caller) -> None:
    fleet.add_machines(ctx, 1, fleet.add_nodes(ctx, 2))  # registers an image, too
    crew.join(ctx, "worker", "server", "")
    crew.take(ctx, "worker", ["sim1", "sim2", ctx.config.node])
    assert not outlook.health(ctx).ready, "its own server has never reported"
    elsewhere = replace(ctx, config=replace(ctx.config, node="none"))
    with ctx.db.write() as session:
        session.delete(session.get_one(Node, ctx.config.node))
    assert outlook.health(elsewhere).ready
    for name, ready in (("sim1", True), ("sim2", False)):
        with ctx.db.write() as session:
            session.get_one(Node, name).hypervisor_error = "no route to host"
        assert outlook.health(elsewhere).ready is ready


TWICE = json.dumps(json.dumps({"name": "one", "lease_days": 2}))
NO_OBJECTS = (b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"[" * 3000, b'{"name": 1e999}', b'{"lease_days": NaN}')


@pytest.mark.parametrize("data", [*NO_OBJECTS, b'{"lease_days": 1e999}', TWICE.encode()])
def test_a_body_that_is_no_object_is_malformed(app: OpenAPI, ctx: Context, alice: Caller, data: bytes) -> None:
    token = api_tokens.create(ctx, alice, "t")[1]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    response = app.test_client().post("/api/v1/machines", data=data, headers=headers)
    assert response.status_code in (400, 422)
    assert response.content_type == "application/problem+json"
    with ctx.db.read() as session:
        assert session.scalar(select(func.count()).select_from(Machine)) == 0


@pytest.mark.parametrize("given", [True, "7", [7], float(10**300)])
def test_a_number_is_no_text_and_no_truth(api: Api, given: Any) -> None:
    problem = assert_problem(api("POST", "/machines", {"lease_days": given}), 422, "invalid_field")
    assert problem["errors"][0]["pointer"] == "/lease_days"
    assert problem["hint"]


def test_a_login_that_is_refused_leaves_nothing(app: OpenAPI, ctx: Context, alice: Caller) -> None:
    body = {"name": "alice", "password": "password of alice"}
    refused = Api(app.test_client(), None)("POST", "/login", body | {"token_name": "\u202e"})
    assert assert_problem(refused, 422, "invalid_field")["errors"][0]["pointer"] == "/token_name"
    assert api_tokens.listing(ctx, alice) == []
    with ctx.db.read() as session:
        assert not session.scalars(select(Audit).where(Audit.action == "session.open")).first()


def test_unknown_fields_and_too_large_bodies_are_named(api: Api) -> None:
    problem = assert_problem(api("POST", "/machines", {"name": "one", "colour": "red"}), 422, "invalid_field")
    assert problem["errors"][0]["pointer"] == "/colour"
    for path in ("/machines", "/me", "/keys"):
        problem = assert_problem(api("GET", f"{path}?colour=red"), 422, "invalid_field")
        assert problem["errors"][0]["pointer"] == "/colour"
    for number in ("5_0", "+50", " 50", "50.0"):
        assert_problem(api("GET", f"/machines?limit={quote(number)}"), 422, "invalid_field")
    assert_problem(api("POST", "/machines", {"user_data": "x" * 300_000}), 413, "too_large")
    assert_problem(api("PATCH", "/machines"), 405, "method_not_allowed")
    assert_problem(api("GET", "/nowhere"), 404, "not_found")
