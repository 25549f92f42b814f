"""The API and the command of the overlay's registry: invitations as one line, sites, rights, once-only mutations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from garage.api.app import make_flask
from garage.errors import KINDS
from garage.services import api_tokens, invitations, registry
from garage.services.context import Caller, Context
from netd.core.token import parse_token
from tests.inproc.overlay_nodes import FakeNode, member, request
from tests.inproc.served import Served, serving
from tests.inproc.test_cli import Shell


@pytest.fixture
def http(ctx: Context, admin: Caller) -> FlaskClient:
    client = make_flask(ctx).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {api_tokens.create(ctx, admin, 'test')[1]}"
    return client


@pytest.fixture
def served(ctx: Context, admin: Caller) -> Iterator[Served]:
    with serving(ctx) as running:
        yield running


def test_an_invitation_is_one_line_with_the_token_on_standard_input(http: FlaskClient, ctx: Context) -> None:
    body = {"name": "tsukuba", "own_name": "origin", "ttl_seconds": 3600}
    made = http.post("/api/v1/site-invitations", json=body)
    assert made.status_code == 201, made.text
    line = made.json["line"]
    assert line == f"echo {made.json['token']} | netd join http://localhost"
    assert made.json["reachable"] is False
    token = parse_token(made.json["token"])
    wanted = request(ctx, token.secret, 1)
    node = FakeNode(ctx, "tsukuba", wanted, registry.join(ctx, wanted))
    assert node.table.sites[1].site == "tsukuba"
    listed = http.get("/api/v1/site-invitations").json["items"]
    assert [item["state"] for item in listed] == ["used"]
    assert "token" not in listed[0]


@pytest.mark.parametrize(
    ("listen", "public", "outward", "asked", "given"),
    [
        ("127.0.0.1:8080", "", "192.0.2.7", "http://127.0.0.1:8080", None),
        ("127.0.0.1:8080", "https://garage.example.org/", "", "http://127.0.0.1:8080", "https://garage.example.org"),
        ("0.0.0.0:8443", "", "192.0.2.7", "https://127.0.0.1:8443", "https://192.0.2.7:8443"),
        ("0.0.0.0:8443", "", "192.0.2.7", "https://garage.example.org:8443", "https://garage.example.org:8443"),
        ("[::]:8443", "", "[2001:db8::7]", "https://[::1]:8443", "https://[2001:db8::7]:8443"),
        ("198.51.100.4:8443", "", "", "https://127.0.0.1:8443", "https://198.51.100.4:8443"),
        ("0.0.0.0:8443", "", "", "https://127.0.0.1:8443", None),
    ],
)
def test_the_line_names_an_address_that_others_reach(
    ctx: Context, listen: str, public: str, outward: str, asked: str, given: str | None
) -> None:
    known = replace(ctx, config=replace(ctx.config, listen=listen, public_url=public, outward=outward))
    assert invitations.registry_url(known, asked) == ((given, True) if given else (asked, False))


def test_the_first_invitation_asks_for_the_own_name(http: FlaskClient) -> None:
    refused = http.post("/api/v1/site-invitations", json={"name": "tsukuba"})
    assert (refused.status_code, refused.json["code"]) == (422, "invalid_field")
    assert refused.json["errors"][0]["pointer"] == "/own_name"
    assert http.get("/api/v1/sites").json == {"items": []}
    for bad in ("home", "A", ""):
        refused = http.post("/api/v1/site-invitations", json={"name": "tsukuba", "own_name": bad})
        assert refused.status_code == 422
    assert http.post("/api/v1/site-invitations", json={"name": "tsukuba", "own_name": "origin"}).status_code == 201
    assert http.post("/api/v1/site-invitations", json={"name": "nagoya"}).status_code == 201


def test_a_repeated_request_invites_once(http: FlaskClient) -> None:
    body, headers = {"name": "tsukuba", "own_name": "origin"}, {"Idempotency-Key": "k1"}
    first = http.post("/api/v1/site-invitations", json=body, headers=headers)
    again = http.post("/api/v1/site-invitations", json=body, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json == again.json
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(http.get("/api/v1/site-invitations").json["items"]) == 1


def test_sites_links_histories_and_removal(http: FlaskClient, ctx: Context, admin: Caller) -> None:
    one, two = member(ctx, admin, "one", 1), member(ctx, admin, "two", 2)
    one.poll()
    one.report()
    two.report()
    found = {item["name"]: item for item in http.get("/api/v1/sites").json["items"]}
    assert {name: item["state"] for name, item in found.items()} == {"one": "up", "origin": "invited", "two": "up"}
    assert http.get("/api/v1/sites/one").json == found["one"]
    (link,) = http.get("/api/v1/sites/one/links").json["items"]
    assert (link["state"], link["rtt_ms"], {link["a_site"], link["b_site"]}) == ("up", 5.0, {"one", "two"})
    assert http.get("/api/v1/links").json["items"] == [link]
    samples = http.get("/api/v1/sites/one/history/two?hours=1").json["samples"]
    assert [sample["rtt_ms"] for sample in samples if sample["rtt_ms"] is not None] == [5.0]
    assert http.post("/api/v1/sites/one/rotate-keys").status_code == 200
    assert http.put("/api/v1/overlay", json={"bfd_ms": 300}).status_code == 204
    one.poll()
    assert (one.spec.bfd_ms, one.spec.want_key) == (300, 2)
    assert http.delete("/api/v1/sites/two").status_code == 204
    assert http.delete("/api/v1/sites/two").json["code"] == "not_found"
    assert http.delete("/api/v1/sites/origin").json["code"] == "in_use"


def test_withdrawing(http: FlaskClient) -> None:
    http.post("/api/v1/site-invitations", json={"name": "tsukuba", "own_name": "origin"})
    gone = http.delete("/api/v1/site-invitations/tsukuba")
    assert (gone.status_code, gone.json["state"]) == (200, "withdrawn")
    assert http.delete("/api/v1/site-invitations/tsukuba").status_code == 404
    assert http.post("/api/v1/site-invitations", json={"name": "tsukuba"}).status_code == 201


def test_members_see_and_change_nothing(ctx: Context, alice: Caller) -> None:
    client = make_flask(ctx).test_client()
    headers = {"Authorization": f"Bearer {api_tokens.create(ctx, alice, 'test')[1]}"}
    for method, path in (
        *(
            ("GET", "/sites"),
            ("GET", "/sites/x"),
            ("GET", "/links"),
            ("GET", "/site-invitations"),
            ("DELETE", "/sites/x"),
        ),
        *(("GET", "/sites/x/history/y"), ("DELETE", "/site-invitations/x"), ("POST", "/sites/x/rotate-keys")),
    ):
        refused = client.open(f"/api/v1{path}", method=method, headers=headers)
        assert (refused.status_code, refused.json["code"]) == (403, "forbidden"), path
    refused = client.post("/api/v1/site-invitations", json={"name": "tsukuba"}, headers=headers)
    assert refused.json["code"] == "forbidden"


def test_the_command(served: Served, ctx: Context, admin: Caller, alice: Caller, tmp_path: Path) -> None:
    shell = Shell(tmp_path, GARAGE_URL=served.url, GARAGE_TOKEN=served.token(admin))
    asked = shell("site", "invite", "tsukuba")
    assert asked.returncode == KINDS["invalid_field"].exit
    assert "--own-name" in asked.stderr
    assert shell("site", "invite", "tsukuba", "--ttl", "soon").returncode == 2
    done = shell("site", "invite", "tsukuba", "--ttl", "2h", "--own-name", "origin")
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    echo, token, *rest = line.split()
    assert (echo, rest) == ("echo", ["|", "netd", "join", served.url])
    wanted = request(ctx, parse_token(token).secret, 1)
    node = FakeNode(ctx, "tsukuba", wanted, registry.join(ctx, wanted))
    node.report()
    assert "10.1.0.0/20" in shell("site", "list").stdout
    assert "203.0.113.1" in shell("site", "show", "tsukuba").stdout
    assert "used" in shell("site", "invitations").stdout
    assert shell("site", "rotate", "tsukuba").returncode == 0
    assert shell("site", "invite", "nagoya").returncode == 0
    assert shell("site", "withdraw", "nagoya").stdout == "Withdrew the invitation of nagoya.\n"
    assert shell("site", "remove", "tsukuba").stdout == "Removed tsukuba.\n"
    assert [item["name"] for item in shell.json("site", "list")["items"]] == ["origin"]  # type: ignore[index,call-overload]
    assert shell("site", "list", GARAGE_TOKEN=served.token(alice)).returncode == KINDS["forbidden"].exit


def test_a_site_is_put_on_the_map_and_taken_off_it(http: FlaskClient, ctx: Context, admin: Caller) -> None:
    member(ctx, admin, "naha", 1)
    placed = http.put("/api/v1/sites/naha/place", json={"latitude": 26.2, "longitude": 127.7})
    assert (placed.status_code, placed.json["latitude"], placed.json["longitude"]) == (200, 26.2, 127.7)
    assert http.get("/api/v1/sites/naha").json["longitude"] == 127.7
    for wrong in ({"latitude": 91, "longitude": 0}, {"latitude": 0, "longitude": -181}, {"latitude": 1}):
        refused = http.put("/api/v1/sites/naha/place", json=wrong)
        assert (refused.status_code, refused.json["code"]) == (422, "invalid_field")
    assert http.get("/api/v1/sites/naha").json["latitude"] == 26.2
    assert http.delete("/api/v1/sites/naha/place").json["latitude"] is None


def test_a_site_is_kept_from_being_a_hub(
    served: Served, http: FlaskClient, ctx: Context, admin: Caller, tmp_path: Path
) -> None:
    member(ctx, admin, "naha", 1, kernel=True)
    first = http.get("/api/v1/sites/naha").json
    assert (first["relay"], first["nodes"][0]["kernel"]) == (True, True)
    assert http.put("/api/v1/sites/naha/relay", json={"may": "no"}).status_code == 422
    shell = Shell(tmp_path, GARAGE_URL=served.url, GARAGE_TOKEN=served.token(admin))
    assert shell("site", "relay", "naha", "off").stdout == "The overlay's links follow, step by step.\n"
    assert http.get("/api/v1/sites/naha").json["relay"] is False
    assert "may not be one" in shell("site", "show", "naha").stdout
    assert shell("site", "relay", "naha", "on").returncode == 0
    assert http.get("/api/v1/sites/naha").json["relay"] is True


def test_the_command_takes_southern_and_western_places(
    served: Served, ctx: Context, admin: Caller, tmp_path: Path
) -> None:
    member(ctx, admin, "lima", 1)
    shell = Shell(tmp_path, GARAGE_URL=served.url, GARAGE_TOKEN=served.token(admin))
    placed = shell.json("site", "place", "lima", "-12.05", "-77.04")
    assert isinstance(placed, dict)
    assert (placed["latitude"], placed["longitude"]) == (-12.05, -77.04)
    assert shell("site", "place", "lima", "-12.05").returncode == 2
    assert shell("site", "place", "lima", "-12.05", "181").returncode == 2
    assert shell("site", "place", "lima").returncode == 0
    shown = shell.json("site", "show", "lima")
    assert isinstance(shown, dict)
    assert shown["latitude"] is None
