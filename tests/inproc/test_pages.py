"""The pages over Flask's test client: every page × every role, hostile input, forged requests, headers, redirects, both languages."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

import web
from garage.core.node_checks import Finding
from garage.core.states import Event
from garage.db.models import Node
from garage.errors import GarageError
from garage.services import accounts, adding, api_tokens, keys, machines, projects
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from tests.conftest import ALICE_KEY, Clock
from tests.inproc.served import play
from web import catalogue
from web.i18n import translate_error


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    catalogue.compile_all()


@pytest.fixture
def app(ctx: Context, admin: Caller) -> Flask:
    from garage.api.app import make_flask

    flask_app = make_flask(ctx, translate=translate_error)
    web.register(flask_app, ctx)
    return flask_app


class Browser:
    """A client that takes the form's token from the page it last saw, as a browser does."""

    def __init__(self, app: Flask, cookie: str = "") -> None:
        self.client: FlaskClient = app.test_client()
        if cookie:
            self.client.set_cookie("garage", cookie)

    def get(self, path: str, **headers: str) -> TestResponse:
        return self.client.get(path, headers={k.replace("_", "-"): v for k, v in headers.items()})

    def token(self) -> str:
        found = re.search(r'name="csrf" value="([^"]+)"', self.get("/help").text)
        found = found or re.search(r'name="csrf" value="([^"]+)"', self.get("/sign-in").text)
        assert found
        return found[1]

    def post(self, path: str, live: bool = False, **fields: Any) -> TestResponse:
        headers = {"HX-Request": "true"} if live else {}
        return self.client.post(path, data={"csrf": self.token(), **fields}, headers=headers)


@pytest.fixture
def cookies(ctx: Context, admin: Caller, alice: Caller, bob: Caller) -> dict[str, str]:
    found = {}
    for who in (admin, alice, bob):
        token = accounts.reset_link(ctx, admin, who.name)
        found[who.name] = accounts.accept_invitation(ctx, token, f"password of {who.name}", "192.0.2.9")[1]
    return found


@pytest.fixture
def as_alice(app: Flask, cookies: dict[str, str]) -> Browser:
    return Browser(app, cookies["alice"])


@pytest.fixture
def as_bob(app: Flask, cookies: dict[str, str]) -> Browser:
    return Browser(app, cookies["bob"])


@pytest.fixture
def as_admin(app: Flask, cookies: dict[str, str]) -> Browser:
    return Browser(app, cookies["root-admin"])


@pytest.fixture
def machine(ctx: Context, alice: Caller) -> Iterator[str]:
    return machines.create(ctx, alice, NewMachine(name="arm-test")).id


MEMBER_PAGES = (
    *("/machines", "/images", "/keys", "/projects", "/projects/alice", "/nodes", "/audit", "/account"),
    *("/news", "/news/ways", "/projects/alice/ways"),
)
ADMIN_PAGES = ("/users", "/announcement")


@pytest.mark.parametrize(
    "path", [*MEMBER_PAGES, *ADMIN_PAGES, "/machines/arm-test", "/machines/arm-test/delete", "/machines/arm-test/why"]
)
def test_every_page_for_every_role(path: str, app: Flask, cookies: dict[str, str], machine: str) -> None:
    expected = {"root-admin": 200, "alice": 403 if path in ADMIN_PAGES else 200, "bob": 200}
    if path in ADMIN_PAGES:
        expected["bob"] = 403
    elif "alice" in path or "arm-test" in path:
        expected["bob"] = 404
    for name, status in expected.items():
        response = Browser(app, cookies[name]).get(path)
        assert response.status_code == status, (name, path)
        assert response.text.startswith("\n<!doctype html>") or response.text.startswith("<!doctype html>")
    assert Browser(app).get("/help").status_code == 200
    nobody = Browser(app).get(path)
    assert nobody.status_code == 303
    assert nobody.location.startswith("/sign-in?next=")


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("path", [*MEMBER_PAGES, "/machines/arm-test", "/machines/arm-test/why", "/nothing"])
def test_pages_speak_one_language(path: str, language: str, as_alice: Browser, machine: str) -> None:
    text = as_alice.get(path, Accept_Language=language).text
    assert f'<html lang="{language}"' in text
    prose = re.sub(r'<form method="post" action="/preferences".*?</form>', "", text, flags=re.S)
    japanese = re.findall(r"[\u3040-\u30ff]+", prose)
    assert bool(japanese) == (language == "ja"), japanese[:3]


def test_a_page_is_hardened(as_alice: Browser) -> None:
    for path in ("/machines", "/sign-in", "/nothing", "/assets/favicon.svg"):
        response = as_alice.get(path)
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "same-origin"
        assert "frame-ancestors 'none'" in policy


def test_nothing_inline_and_nothing_from_elsewhere(
    as_admin: Browser, ctx: Context, alice: Caller, machine: str
) -> None:
    for path in (*MEMBER_PAGES, *ADMIN_PAGES, f"/machines/{machine}", "/sign-in"):
        text = as_admin.get(path).text
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", text), path
        assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", text))
        outside = list(re.findall(r'(?:src|href)="(https?:[^"]+)"', text))
        assert outside == []


def test_first_page_is_small(as_alice: Browser, machine: str) -> None:
    text = as_alice.get("/machines").text
    files = set(re.findall(r'(?:src|href)="(/assets/[^"]+)"', text))
    size = len(text.encode()) + sum(len(as_alice.get(file).data) for file in files)
    assert len(files) >= 8
    assert size < 100 * 1024, size


def test_static_files_carry_their_version(as_alice: Browser) -> None:
    url = re.search(r'href="(/assets/css/tokens.css\?v=[0-9a-f]+)"', as_alice.get("/keys").text)
    assert url
    assert "immutable" in as_alice.get(url[1]).headers["Cache-Control"]
    assert as_alice.get("/assets/css/tokens.css").headers["Cache-Control"] == "no-cache"
    assert as_alice.get("/keys").headers["Cache-Control"] == "no-store"


def test_sign_in_sets_a_strict_cookie_and_goes_on(app: Flask, alice: Caller) -> None:
    browser = Browser(app)
    response = browser.post("/sign-in", name="alice", password="password of alice", next="/keys")
    assert (response.status_code, response.location) == (303, "/keys")
    cookie = next(line for line in response.headers.getlist("Set-Cookie") if line.startswith("garage="))
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert browser.get("/keys").status_code == 200
    assert browser.post("/sign-out").status_code == 303
    assert browser.get("/keys").status_code == 303


@pytest.mark.parametrize(
    ("name", "password"), [("alice", "wrong"), ("nobody", "x"), ("", ""), ("a" * 65, "x"), ("a\0b", "x")]
)
def test_a_wrong_sign_in_is_told_without_saying_which(app: Flask, alice: Caller, name: str, password: str) -> None:
    response = Browser(app).post("/sign-in", name=name, password=password)
    assert 400 <= response.status_code < 500
    assert 'role="alert"' in response.text
    assert "garage=" not in str(response.headers.getlist("Set-Cookie")).replace("garage-", "")


OUTSIDE = (
    "https://evil.example/",
    "//evil.example",
    "/\\evil.example",
    "javascript:alert(1)",
    "\\\\evil",
    "/\n/evil",
    "",
)


@pytest.mark.parametrize("target", OUTSIDE)
def test_no_way_to_another_host(app: Flask, alice: Caller, as_alice: Browser, target: str) -> None:
    response = Browser(app).post("/sign-in", name="alice", password="password of alice", next=target)
    assert response.location == "/machines"
    assert as_alice.post("/preferences", theme="dark", next=target).location == "/machines"
    assert as_alice.client.get("/sign-in", query_string={"next": target}).location == "/machines"


POSTS = ("/machines", "/machines/many", "/machines/arm-test/delete", "/keys", "/account/tokens", "/sign-out",
         "/preferences", "/users", "/projects", "/projects/alice/members", "/projects/alice/quota")  # fmt: skip


@pytest.mark.parametrize("path", POSTS)
def test_a_forged_post_is_refused(
    path: str, as_alice: Browser, as_bob: Browser, ctx: Context, alice: Caller, machine: str
) -> None:
    other = as_bob.token()
    good = as_alice.token()
    attempts = [({}, {}), ({"csrf": "x"}, {}), ({"csrf": other}, {}), ({"csrf": good}, {"Origin": "https://evil.example"}),
                ({"csrf": good}, {"Sec-Fetch-Site": "cross-site"}), ({"csrf": good}, {"Origin": "null"}),
                ({"csrf": good}, {"Origin": "http://["})]  # fmt: skip
    for data, headers in attempts:
        response = as_alice.client.post(path, data=data, headers=headers)
        assert response.status_code == 403, (data, headers)
        assert "load the page again" in response.text.lower()
    assert machines.get(ctx, alice, machine).state == "preparing"


def test_one_click_makes_a_machine(as_alice: Browser, ctx: Context, alice: Caller) -> None:
    response = as_alice.post("/machines", once="one", project="alice", size="small", image="debian-12", lease_days="7")
    assert response.status_code == 303
    page = as_alice.get(response.location)
    assert "preparing" in page.text
    assert len(machines.listing(ctx, alice).items) == 1


def test_a_double_click_makes_one_machine(as_alice: Browser, ctx: Context, alice: Caller) -> None:
    first = as_alice.post("/machines", once="same", name="arm-test")
    again = as_alice.post("/machines", once="same", name="arm-test")
    assert first.location == again.location
    assert len(machines.listing(ctx, alice).items) == 1


def test_htmx_gets_the_new_row_and_a_fresh_form(as_alice: Browser) -> None:
    response = as_alice.post("/machines", live=True, once="live", name="arm-test")
    assert response.status_code == 201
    assert '<hx-partial hx-target="#rows"' in response.text
    assert "<html" not in response.text
    assert 'id="request"' in response.text


BAD = [("name", "Großer Name"), ("name", "a" * 70), ("name", "-x"), ("name", "a\0"), ("size", "giant"), ("image", "windows"),
       ("project", "root-admin"), ("lease_days", "-1"), ("lease_days", "1e999"), ("lease_days", "nan"), ("lease_days", "soon"),
       ("user_data", "#nonsense"), ("user_data", "#cloud-config\n- ["), ("user_data", "x" * 70_000), ("once", "k" * 300)]  # fmt: skip


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize(("field", "value"), BAD)
def test_a_bad_field_is_told_and_nothing_is_made(
    field: str, value: str, live: bool, as_alice: Browser, ctx: Context, alice: Caller
) -> None:
    response = as_alice.post(
        "/machines", live=live, **{"name": "keep-me", "once": f"{field}-{value[:5]}-x", field: value}
    )
    assert 400 <= response.status_code < 500, response.text
    assert 'role="alert"' in response.text
    assert field == "name" or "keep-me" in response.text
    assert machines.listing(ctx, alice).items == []


HOSTILE = (
    "",
    "\0",
    "a" * 5000,
    "🤖",
    "' OR 1=1 --",
    "<script>alert(1)</script>",
    "../../etc/passwd",
    "\x1b[31m",
    "％００",
)


@pytest.mark.parametrize("value", HOSTILE[1:])
def test_hostile_addresses_never_make_a_500(value: str, as_alice: Browser) -> None:
    for query in ("search", "state", "project", "sort", "cursor", "sort=lease&cursor"):
        more, _, name = query.rpartition("&")
        response = as_alice.client.get(f"/machines?{more}&{urlencode({name: value})}")
        assert response.status_code < 500, (query, value)
        assert "<script>alert" not in response.text
    assert as_alice.client.get("/audit", query_string={"cursor": value}).status_code == 422
    for path in ("/machines/{}", "/machines/{}/row", "/projects/{}", "/welcome/{}"):
        assert 400 <= as_alice.client.get(path.format(value)).status_code < 500


def test_another_persons_things_do_not_exist(as_bob: Browser, ctx: Context, alice: Caller, machine: str) -> None:
    for path in ("stop", "start", "reboot", "renew", "delete"):
        assert as_bob.post(f"/machines/{machine}/{path}").status_code == 404
    key = keys.add(ctx, alice, "laptop", ALICE_KEY)
    assert as_bob.post(f"/keys/{key.id}/delete").status_code == 404
    token, _ = api_tokens.create(ctx, alice, "ci")
    assert as_bob.post(f"/account/tokens/{token.id}/delete").status_code == 404
    assert as_bob.post("/projects/alice/members", user="bob", role="owner").status_code == 404
    assert as_bob.post("/users", name="eve").status_code == 403
    assert machines.get(ctx, alice, machine).state == "preparing"


def test_actions_follow_the_table(as_alice: Browser, ctx: Context, alice: Caller, machine: str) -> None:
    play(ctx, machine, Event.STARTED, Event.ANSWERED)
    assert "garage ssh arm-test" in as_alice.get(f"/machines/{machine}").text
    row = as_alice.post(f"/machines/{machine}/stop", live=True)
    assert row.status_code == 200
    assert 'data-state="stopping"' in row.text
    again = as_alice.post(f"/machines/{machine}/stop", live=True)
    assert again.status_code == 409
    assert again.headers["HX-Retarget"] == "#notices"
    assert as_alice.post(f"/machines/{machine}/delete").location == "/machines"


def test_a_machine_of_a_silent_node_is_never_called_stopped(as_alice: Browser, ctx: Context, machine: str) -> None:
    play(ctx, machine, Event.STARTED, Event.ANSWERED)
    with ctx.db.write() as session:
        session.get_one(Node, ctx.config.node).hypervisor_error = "cannot connect to libvirt"
    for path in ("/machines", f"/machines/{machine}"):
        text = as_alice.get(path).text
        assert "does not answer" in text
        assert "#s-unreachable" in text
        assert "stale" in text


def test_how_far_a_server_is_on_its_way_is_for_admins_alone(
    as_admin: Browser, as_alice: Browser, ctx: Context, admin: Caller
) -> None:
    near = replace(ctx, config=replace(ctx.config, public_url="https://garage.example:8443"))
    adding.ask(near, admin, "root@192.0.2.7", ALICE_KEY, own_name="lab")
    task = adding.claim(ctx, "worker")
    assert task is not None
    adding.progress(ctx, task, "packages", 0.5, "<b>Setting up libvirt</b>")
    text = as_admin.get("/nodes", Accept_Language="ja").text
    assert "パッケージを入れています" in text
    assert "&lt;b&gt;Setting up libvirt" in text
    assert "node2" not in as_alice.get("/nodes").text
    fault = Finding("error", "tun", "/dev/net/tun is missing", "modprobe tun; in a container, let it have the device")
    adding.found(ctx, task, [fault.as_dict()])
    adding.failed(ctx, task, GarageError("unfit_node", "no", hint="no"))
    assert "/dev/net/tun がありません" in as_admin.get("/nodes", Accept_Language="ja").text


def test_several_at_once_ask_before_deleting(as_alice: Browser, ctx: Context, alice: Caller) -> None:
    ids = [machines.create(ctx, alice, NewMachine(name=name, size="tiny")).id for name in ("one", "two")]
    asked = as_alice.post("/machines/many", action="delete", machine=ids)
    assert "Delete these 2 machines?" in asked.text
    assert machines.get(ctx, alice, ids[0]).state == "preparing"
    assert as_alice.post("/machines/many", action="delete", machine=ids, sure="1").status_code == 303
    assert {machines.get(ctx, alice, ref).state for ref in ids} == {"deleting"}
    problems = as_alice.post("/machines/many", action="start", machine=ids)
    assert problems.status_code == 409
    assert problems.text.count("<strong>") == 2


def test_a_lease_that_ends_is_shown_and_renewed(
    as_alice: Browser, ctx: Context, alice: Caller, clock: Clock, machine: str
) -> None:
    clock.forward(6.5 * 86_400)
    assert "lease-warn" in as_alice.get("/machines").text
    clock.forward(86_400)
    assert "lease-over" in as_alice.get("/machines").text
    assert as_alice.post(f"/machines/{machine}/renew").status_code == 303
    assert "lease-calm" in as_alice.get("/machines").text


def test_a_secret_is_shown_once(as_alice: Browser, as_admin: Browser) -> None:
    made = as_alice.post("/account/tokens", name="ansible", days="30")
    secret = re.search(r"garage_[\w-]{40,}", made.text)
    assert secret
    assert secret[0] not in as_alice.get("/account").text
    invited = as_admin.post("/users", name="carol")
    link = re.search(r"http://localhost(/welcome/[\w-]+)", invited.text)
    assert link
    guest = Browser(as_admin.client.application)
    assert "carol" in guest.get(link[1]).text
    assert "your API tokens will end" not in guest.get(link[1]).text
    assert guest.post(link[1], password="short", again="short").status_code == 422
    assert guest.post(link[1], password="long enough", again="another one").status_code == 422
    assert guest.post(link[1], password="long enough", again="long enough").location == "/machines"
    assert guest.get(link[1]).status_code == 410
    again = re.search(r"http://localhost(/welcome/[\w-]+)", as_admin.post("/users/carol/link").text)
    assert again
    assert "your API tokens will end" in guest.get(again[1]).text


def test_language_and_theme_are_remembered(app: Flask, as_alice: Browser, ctx: Context) -> None:
    assert as_alice.post("/preferences", locale="ja", theme="dark", next="/keys").location == "/keys"
    page = as_alice.get("/keys", Accept_Language="en").text
    assert '<html lang="ja" data-theme="dark"' in page
    guest = Browser(app)
    guest.post("/preferences", locale="ja")
    assert 'lang="ja"' in guest.get("/sign-in", Accept_Language="en").text


def test_projects_and_members(as_alice: Browser, ctx: Context, alice: Caller, bob: Caller) -> None:
    assert as_alice.post("/projects", name="robot-arm").location == "/projects/robot-arm"
    assert as_alice.post("/projects/robot-arm/members", user="bob", role="member").status_code == 303
    assert {m["name"] for m in projects.get(ctx, alice, "robot-arm").members} == {"alice", "bob"}
    assert as_alice.post("/projects/robot-arm/members/alice/remove").status_code == 409
    assert as_alice.post("/projects/robot-arm/quota", machines="9").status_code == 403


def test_the_list_is_paged(as_admin: Browser, ctx: Context, admin: Caller) -> None:
    projects.set_quota(
        ctx, admin, admin.name, {"machines": 100, "vcpus": 1000, "memory_mib": 1 << 20, "disk_gib": 10_000}
    )
    with ctx.db.write() as session:
        session.get_one(Node, ctx.config.node).facts = {"vcpus": 256, "memory_mib": 1 << 20, "disk_free_gib": 9e3,
                                                        "disk_total_gib": 9e3, "virtualisation": "kvm"}  # fmt: skip
    for number in range(53):
        machines.create(ctx, admin, NewMachine(name=f"m{number}", size="tiny"))
    first = as_admin.get("/machines").text
    assert first.count('data-machine="') == 50
    for order in ("", "name", "state", "lease"):
        first = as_admin.get(f"/machines?sort={order}").text
        older = re.search(r'rel="next" href="([^"]+)"', first)
        assert older
        rest = as_admin.get(html.unescape(older[1])).text
        both = [re.findall(r'data-machine="(\w+)"', text) for text in (first, rest)]
        assert [len(ids) for ids in both] == [50, 3], order
        assert len({*both[0], *both[1]}) == 53, order


def test_programs_still_get_json(app: Flask, as_alice: Browser) -> None:
    assert as_alice.get("/api/v1/nothing").content_type == "application/problem+json"
    assert as_alice.get("/nothing").content_type.startswith("text/html")
    assert as_alice.client.post("/keys/x/delete/y").status_code == 404
    assert as_alice.client.delete("/keys").status_code == 405


def test_a_defect_is_a_page_without_its_trace(app: Flask, as_alice: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    app.config["PROPAGATE_EXCEPTIONS"] = False
    monkeypatch.setattr(keys, "listing", lambda *_: 1 / 0)
    response = as_alice.get("/keys")
    assert response.status_code == 500
    assert "ZeroDivision" not in response.text
    assert "Content-Security-Policy" in response.headers


def test_one_changes_ones_own_password(app: Flask, as_alice: Browser, ctx: Context, alice: Caller) -> None:
    def change(current: str, new: str, again: str) -> Any:
        return as_alice.post("/account/password", current=current, password=new, again=again)

    old, new = "password of alice", "another password of alice"

    _, elsewhere = accounts.sign_in(ctx, "alice", old, "127.0.0.1")
    for bad in (("not my password", new, new), (old, new, new + "x"), (old, "short", "short")):
        assert change(*bad).status_code in (401, 422)
    assert accounts.by_session(ctx, elsewhere)
    assert change(old, new, new).status_code == 303
    assert accounts.by_session(ctx, elsewhere) is None
    assert accounts.sign_in(ctx, "alice", new, "127.0.0.1")
    with pytest.raises(GarageError, match="password is wrong"):
        accounts.sign_in(ctx, "alice", old, "127.0.0.1")
    assert as_alice.get("/account").status_code == 200, "this browser stays signed in"
