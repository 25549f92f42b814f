"""A second factor on the pages and at `garage login`."""
# ruff: noqa: F811  (pytest names fixtures by arguments)

from __future__ import annotations

import html
import re
import time
from dataclasses import replace
from pathlib import Path

import pyotp
import pytest
from click.testing import CliRunner

import web
from garage.app import main as server
from garage.services import accounts, audits, second_factor
from garage.services.audits import Search
from garage.services.context import Caller, Context
from tests.conftest import Clock
from tests.inproc.served import serving
from tests.inproc.test_cli import Shell
from tests.inproc.test_pages import Browser, app, as_alice, cookies  # noqa: F401  (fixtures)
from web.i18n import translate_error


def field(text: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', text)
    assert found, name
    return html.unescape(found[1])


def code_of(secret: str, now: float) -> str:
    return str(pyotp.TOTP(secret).generate_otp(int(now // 30)))


def enrol(browser: Browser, clock: Clock) -> str:
    """Through the page; returns the secret."""
    text = browser.get("/account/second-factor").text
    assert "data:image/svg+xml" in text
    sealed = field(text, "sealed")
    secret = re.search(r"<code>([A-Z2-7]{32})</code>", text)
    assert secret
    wrong = browser.post("/account/second-factor", sealed=sealed, code="12")
    assert wrong.status_code == 401
    assert secret[1] in wrong.text, "the same secret once more: it is on the phone already"
    done = browser.post("/account/second-factor", sealed=sealed, code=code_of(secret[1], clock()))
    assert done.status_code == 201
    assert len(re.findall(r"<li><code>(?:\w{4}-){3}\w{4}</code>", done.text)) == second_factor.CODES
    return secret[1]


def test_from_setting_up_to_signing_in(ctx: Context, alice: Caller, as_alice: Browser, clock: Clock) -> None:
    secret = enrol(as_alice, clock)
    assert "10 recovery codes are left" in as_alice.get("/account").text
    other = Browser(as_alice.client.application)
    clock.forward(60)
    asked = other.post("/sign-in", name="alice", password="password of alice", next="/keys")
    assert asked.status_code == 200
    assert "garage=" not in str(asked.headers.getlist("Set-Cookie"))
    passed = field(asked.text, "passed")
    wrong = other.post("/sign-in/code", passed=passed, code="12", next="/keys")
    assert wrong.status_code == 401
    assert field(wrong.text, "passed") == passed
    let_in = other.post("/sign-in/code", passed=passed, code=code_of(secret, clock()), next="/keys")
    assert (let_in.status_code, let_in.location) == (303, "/keys")
    assert other.get("/keys").status_code == 200
    clock.forward(60)
    assert other.post("/account/second-factor/codes", code=code_of(secret, clock())).status_code == 201
    clock.forward(60)
    assert other.post("/account/second-factor/remove", code="12").status_code == 401
    assert other.post("/account/second-factor/remove", code=code_of(secret, clock())).status_code == 303
    assert second_factor.codes_left(ctx, alice) is None


def test_a_link_replaces_the_password_alone(
    ctx: Context, admin: Caller, alice: Caller, as_alice: Browser, clock: Clock
) -> None:
    enrol(as_alice, clock)
    guest = Browser(as_alice.client.application)
    link = accounts.reset_link(ctx, admin, alice.name)
    said = guest.post(f"/welcome/{link}", password="another password", again="another password")
    assert said.location == "/sign-in?set=yes"
    for page, told in ((said.location, True), ("/sign-in", False)):
        assert ("Sign in with it and your second factor." in guest.get(page).text) is told


def test_root_on_the_server_takes_the_only_admins_factor(
    ctx: Context, alice: Caller, as_alice: Browser, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("garage.app.make_context", lambda _config: ctx)
    monkeypatch.setattr("garage.app.configuration.load", lambda: ctx.config)
    enrol(as_alice, clock)
    assert CliRunner().invoke(server, ["reset-factor", "alice"]).stdout == '{"reset": "alice"}\n'
    assert second_factor.codes_left(ctx, alice) is None
    [entry] = audits.listing(ctx, replace(alice, admin=True), Search(action="user.no_second_factor")).items
    assert entry.actor == "garage-server"


def test_an_admins_first_sign_in_leads_to_the_set_up(ctx: Context, admin: Caller, clock: Clock) -> None:
    from garage.api.app import make_flask

    strict = replace(ctx, config=replace(ctx.config, second_factor="admins"))
    flask_app = make_flask(strict, translate=translate_error)
    web.register(flask_app, strict)
    link = accounts.reset_link(strict, admin, admin.name)
    browser = Browser(flask_app)
    browser.post(f"/welcome/{link}", password="password of root", again="password of root")
    for path in ("/machines", "/users", "/account"):
        led = browser.get(path)
        assert (led.status_code, led.location) == (303, "/account/second-factor")
    assert browser.client.get("/api/v1/me").json["code"] == "second_factor"
    page = browser.get("/account/second-factor").text
    token = field(page, "csrf")
    browser.token = lambda: token  # type: ignore[method-assign]  (its usual page is closed to it)
    assert "Users" not in page.partition("<main")[0]
    enrol(browser, clock)
    assert browser.get("/users").status_code == 200
    assert "with second factor" in browser.get("/users").text


@pytest.mark.usefixtures("app")
def test_the_command_asks_for_the_code(ctx: Context, alice: Caller, tmp_path: Path) -> None:
    now = replace(ctx, clock=time.time)
    offer = second_factor.offer(now, alice)
    codes = second_factor.enrol(now, alice, offer.sealed, code_of(offer.secret, time.time()))
    with serving(now) as served:
        shell = Shell(tmp_path)
        words = ("login", served.url, "--name", "alice", "--password-stdin")
        assert shell(*words, stdin="password of alice\n0000-0000\n").returncode == 4
        done = shell(*words, stdin=f"password of alice\n{codes[0]}\n")
        assert done.returncode == 0, done.stderr
        assert shell.json("status")["me"]["name"] == "alice"  # type: ignore[index]
