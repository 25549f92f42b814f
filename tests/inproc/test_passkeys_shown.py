"""Security keys and passkeys on the pages: what is shown where they work, where not, and to whom they belong."""
# ruff: noqa: F811  (pytest names fixtures by arguments)

from __future__ import annotations

import html
import json
import re
from dataclasses import replace

import pytest
from flask import Flask

from garage.services import passkeys, second_factor
from garage.services.context import Caller, Context
from garage.services.passkeys import Answer
from tests.conftest import Clock
from tests.inproc.keyring import Key
from tests.inproc.test_pages import Browser, app, as_alice, as_bob, cookies  # noqa: F401  (fixtures)
from tests.inproc.test_second_factor_shown import field

ORIGIN = "http://localhost"
"""Flask's test client is there."""


@pytest.fixture
def ctx(ctx: Context) -> Context:
    return replace(ctx, config=replace(ctx.config, public_url=ORIGIN))


def options(text: str, kind: str) -> str:
    found = re.search(rf'data-passkey="{kind}" data-options="([^"]*)"', text)
    assert found, kind
    return html.unescape(found[1])


def register(browser: Browser, key: Key) -> None:
    text = browser.get("/account/second-factor").text
    sealed = field(text[text.index('data-passkey="create"') :], "sealed")
    said = key.create(options(text, "create"), ORIGIN)
    assert browser.post("/account/passkeys", name="", sealed=sealed, answer=said).status_code == 422
    assert browser.post("/account/passkeys", name="phone", sealed=sealed, answer="{}").status_code == 401
    done = browser.post("/account/passkeys", name="phone", sealed=sealed, answer=said)
    assert done.status_code == 201
    assert len(re.findall(r"<li><code>(?:\w{4}-){3}\w{4}</code>", done.text)) == second_factor.CODES


def test_from_registering_to_signing_in_and_removing(as_alice: Browser, clock: Clock) -> None:
    key = Key()
    register(as_alice, key)
    clock.forward(1)
    other = Browser(as_alice.client.application)
    asked = other.post("/sign-in", name="alice", password="password of alice", next="/keys").text
    passed = {"passed": field(asked, "passed"), "sealed": field(asked, "sealed"), "next": "/keys"}
    wrong = other.post("/sign-in/code", answer=key.get(options(asked, "get"), "https://evil"), **passed)
    assert wrong.status_code == 401
    assert field(wrong.text, "sealed") != passed["sealed"], "it is asked anew"
    let_in = other.post("/sign-in/code", answer=key.get(options(asked, "get"), ORIGIN), **passed)
    assert (let_in.status_code, let_in.location) == (303, "/keys")
    assert other.get("/keys").status_code == 200
    clock.forward(1)
    text = other.get("/account/second-factor").text
    [ref] = re.findall(r'<option value="(\w+)">phone</option>', text)
    sealed, said = field(text[text.index('data-passkey="get"') :], "sealed"), key.get(options(text, "get"), ORIGIN)
    assert other.post("/account/passkeys/remove", key=ref, code="12").status_code == 401
    assert other.post("/account/passkeys/remove", key=ref, sealed=sealed, answer=said).status_code == 303
    assert "phone</td>" not in other.get("/account/second-factor").text


def test_anothers_key_is_nobodys(ctx: Context, alice: Caller, as_alice: Browser, as_bob: Browser) -> None:
    register(as_alice, Key())
    [view] = passkeys.listing(ctx, alice)
    assert as_bob.post("/account/passkeys/remove", key=view.id, code="12").status_code == 404
    assert passkeys.listing(ctx, alice) == [view]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://192.0.2.1:8443", "browsers bind keys to names only"),
        ("http://garage.lan", "browsers take keys over https only"),
        ("https://garage.example", "Open this page there"),
    ],
)
def test_where_no_key_can_be_registered_the_page_says_why(
    ctx: Context, alice: Caller, app: Flask, as_alice: Browser, url: str, said: str
) -> None:
    app.extensions["garage_web"] = moved = replace(ctx, config=replace(ctx.config, public_url=url))
    text = as_alice.get("/account/second-factor").text
    assert said in text
    assert 'data-passkey="create"' not in text
    assert "data:image/svg+xml" in text, "an authenticator app is offered"
    if "example" not in url:
        assert passkeys.offer(moved, alice) is None
        with pytest.raises(Exception, match="browsers take no security keys"):
            second_factor.enrol_key(moved, alice, "phone", Answer("x", json.dumps({})))
