"""A session alone changes nothing of what lets people in: a fresh proof is asked for first."""
# ruff: noqa: F811  (pytest names fixtures by arguments)

from __future__ import annotations

import html
import re
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask

from garage.errors import GarageError
from garage.services import accounts, api_tokens, passkeys, projects, proving, second_factor, service_accounts
from garage.services.context import Caller, Context
from tests.conftest import Clock
from tests.inproc.keyring import Key
from tests.inproc.test_pages import Browser, app, as_admin, as_alice, as_bob, cookies  # noqa: F401  (fixtures)
from tests.inproc.test_passkeys_shown import ORIGIN, options, register
from tests.inproc.test_second_factor_shown import code_of, enrol, field

PASSWORD = "password of alice"
GUARDED = {
    "/account/tokens": "/account#tokens",
    "/account/password": "/account#password",
    "/account/second-factor": "/account/second-factor",
    "/account/passkeys": "/account/second-factor#passkeys",
    "/account/openid": "/account#openid",
    "/account/openid/remove": "/account#openid",
    "/projects/arms/services/robot/tokens": "/projects/arms#services",
    "/keys": "/keys",
}


@pytest.fixture
def ctx(ctx: Context) -> Context:
    return replace(ctx, config=replace(ctx.config, public_url=ORIGIN))


@pytest.fixture
def old(as_alice: Browser, clock: Clock) -> Browser:
    """Somebody has her cookie, and she signed in a while ago."""
    clock.forward(proving.RECENT)
    return as_alice


def asked(browser: Browser, path: str, **fields: str) -> str:
    """Where the proof page would lead back to."""
    told = browser.post(path, **fields)
    assert told.status_code == 303
    assert urlsplit(told.location).path == "/account/proof"
    return parse_qs(urlsplit(told.location).query)["next"][0]


def test_an_old_session_makes_nothing_that_lets_in(ctx: Context, old: Browser, alice: Caller) -> None:
    projects.create(ctx, alice, "arms")
    service_accounts.create(ctx, alice, "arms", "robot")
    before = old.get("/projects/arms").text
    for path, back in GUARDED.items():
        assert (
            asked(old, path, name="x", code="1", sealed="x", current=PASSWORD, password="y" * 12, again="y" * 12)
            == back
        )
    assert api_tokens.listing(ctx, alice) == []
    assert second_factor.codes_left(ctx, alice) is None
    assert old.get("/projects/arms").text.count("garage_") == before.count("garage_")
    assert accounts.sign_in(ctx, "alice", PASSWORD, "192.0.2.9")
    page, factor = old.get("/account").text, old.get("/account/second-factor").text
    assert 'action="/account/tokens"' not in page
    assert 'action="/account/password"' not in page
    assert "data:image/svg+xml" not in factor
    assert 'data-passkey="create"' not in factor
    for text in (page, factor):
        assert "/account/proof?next=" in text, "the way there, instead of forms that would be refused"
    with pytest.raises(GarageError) as caught:
        proving.require(ctx, "nobody's")
    assert (caught.value.code, bool(caught.value.hint)) == ("proof_needed", True)


def test_the_password_is_the_proof_of_whoever_has_no_more(
    ctx: Context, old: Browser, as_bob: Browser, clock: Clock
) -> None:
    elsewhere = accounts.sign_in(ctx, "alice", PASSWORD, "192.0.2.9")[1]
    clock.forward(proving.RECENT)
    assert 'name="code"' not in old.get("/account/proof").text
    assert old.post("/account/proof", password="password of bob", next="/account").status_code == 401
    told = old.post("/account/proof", password=PASSWORD, next="/account#tokens")
    assert (told.status_code, told.location) == (303, "/account#tokens")
    assert old.post("/account/tokens", name="ci", days="7").status_code == 201
    assert not proving.is_recent(ctx, elsewhere), "it is good for the browser that gave it"
    assert asked(as_bob, "/account/tokens", name="ci")
    assert old.post("/account/proof", password=PASSWORD, next="//evil.example").location == "/machines"
    clock.forward(proving.RECENT)
    assert asked(old, "/account/tokens", name="ci"), "and for ten minutes"


def test_an_admins_old_session_lets_nobody_in_either(
    ctx: Context, as_admin: Browser, alice: Caller, clock: Clock
) -> None:
    clock.forward(proving.RECENT)
    for path in ("/users", "/users/alice/link", "/users/alice/reset-factor", "/users/grants"):
        assert asked(as_admin, path, name="mallory", user="alice", grant="auditor") == "/users"
    assert [user.name for user in accounts.list_users(ctx, Caller("", "x", admin=True))] == [
        "alice",
        "bob",
        "root-admin",
    ]


def test_a_second_factor_is_asked_for_as_well(as_alice: Browser, ctx: Context, alice: Caller, clock: Clock) -> None:
    secret = enrol(as_alice, clock)
    clock.forward(proving.RECENT)
    assert asked(as_alice, "/account/passkeys", name="thief")
    assert 'data-passkey="create"' not in as_alice.get("/account/second-factor").text
    for given in ({"password": PASSWORD}, {"code": code_of(secret, clock())}, {"password": PASSWORD, "code": "12"}):
        assert as_alice.post("/account/proof", next="/keys", **given).status_code == 401
    good = {"password": PASSWORD, "code": code_of(secret, clock())}
    assert as_alice.post("/account/proof", next="/keys", **good).status_code == 303
    assert 'data-passkey="create"' in as_alice.get("/account/second-factor").text
    clock.forward(proving.RECENT)
    assert as_alice.post("/account/second-factor/remove", code="12").status_code == 401
    assert second_factor.codes_left(ctx, alice) == second_factor.CODES, "what takes one away asks for a code itself"


def test_a_key_is_as_good_as_a_code(as_alice: Browser, ctx: Context, alice: Caller, clock: Clock) -> None:
    key = Key()
    register(as_alice, key)
    clock.forward(proving.RECENT)
    text = as_alice.get("/account/proof?next=/keys").text
    given = {"sealed": field(text, "sealed"), "answer": key.get(options(text, "get"), ORIGIN), "next": "/keys"}
    assert as_alice.post("/account/proof", password="wrong", **given).status_code == 401
    assert as_alice.post("/account/proof", password=PASSWORD, **given).status_code == 303
    assert as_alice.post("/account/tokens", name="ci", days="7").status_code == 201
    clock.forward(proving.RECENT)
    assert as_alice.post("/account/proof", password=PASSWORD, **given).status_code in (401, 410), (
        "an answer is good once"
    )
    assert passkeys.listing(ctx, alice)[0].used_at is not None


def test_who_must_set_one_up_comes_there_from_an_old_session(app: Flask, ctx: Context, old: Browser) -> None:
    app.extensions["garage_web"] = replace(ctx, config=replace(ctx.config, second_factor="all"))
    led = old.get("/account")
    assert (led.status_code, led.location) == (303, "/account/second-factor")
    text = old.get(led.location).text
    link = re.search(r'href="(/account/proof[^"]*)"', text)
    assert link
    page = old.get(html.unescape(link[1])).text
    given = {"csrf": field(page, "csrf"), "next": field(page, "next"), "password": PASSWORD}
    assert old.client.post("/account/proof", data=given).location == "/account/second-factor"
    assert "data:image/svg+xml" in old.get("/account/second-factor").text
