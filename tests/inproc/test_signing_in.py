"""What signing in gives away, and to whom: as much work for every wrong attempt, and a session that is always a new one."""
# ruff: noqa: F811  (pytest names fixtures by arguments)

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Callable, Iterator

import pyotp
import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import VerifyMismatchError
from flask import Flask

from garage.db.people_models import Identity
from garage.errors import GarageError
from garage.services import accounts, api_tokens, codes, projects, second_factor, service_accounts
from garage.services.context import Caller, Context
from tests.conftest import Clock, member
from tests.inproc.test_pages import Browser, app, cookies  # noqa: F401  (fixtures)

PASSWORD = "password of alice"
FROM = "192.0.2.1"

# --- as much work for every wrong attempt -------------------------------------------------------------------------------


class Counting(PasswordHasher):
    """Keeps how costly each hash was that a password was really held against; one that cannot be read costs nothing."""

    def __init__(self) -> None:
        super().__init__(time_cost=2, memory_cost=16, parallelism=1)
        self.work: list[object] = []

    def verify(self, hash: str | bytes, password: str | bytes) -> bool:
        try:
            fits = super().verify(hash, password)
        except VerifyMismatchError:
            self.work.append(extract_parameters(str(hash)))
            raise
        self.work.append(extract_parameters(str(hash)))
        return fits


@pytest.fixture
def hasher(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counting]:
    counting = Counting()
    monkeypatch.setattr(accounts, "_HASHER", counting)
    accounts._nobody.cache_clear()
    yield counting
    accounts._nobody.cache_clear()


WAYS: dict[str, Callable[[Context, str, str], object]] = {
    "command": lambda ctx, name, password: api_tokens.log_in(ctx, name, password, FROM, "cli"),
    "page": lambda ctx, name, password: codes.begin(ctx, name, password, FROM, "Browser/1"),
    "whole": lambda ctx, name, password: accounts.sign_in(ctx, name, password, FROM),
}


def test_a_wrong_attempt_takes_as_much_work_whoever_it_is_for(ctx: Context, admin: Caller, hasher: Counting) -> None:
    """Counted, not timed: the hash is what takes long."""
    alice = member(ctx, admin, "alice")
    member(ctx, admin, "gone")
    accounts.set_disabled(ctx, admin, "gone", True)
    outside, _ = accounts.create_user(ctx, admin, "outside")
    with ctx.db.write() as session:
        session.add(Identity(user_id=outside.id, issuer="https://id.example", subject="1", created_at=0.0))
    projects.create(ctx, alice, "arms")
    robot = service_accounts.create(ctx, alice, "arms", "robot").name
    accounts.sign_in(ctx, "alice", PASSWORD, FROM)
    [usual] = hasher.work
    attempts = [
        *(("alice", "wrong"), ("nobody", "wrong"), ("", "wrong"), ("gone", "wrong"), ("gone", "password of gone")),
        *(("outside", "wrong"), ("outside", ""), (robot, "wrong"), ("x" * 64, "x" * 5000)),
    ]
    for (way, ask), (name, password) in itertools.product(WAYS.items(), attempts):
        hasher.work.clear()
        with pytest.raises(GarageError, check=lambda error: error.code == "wrong_credentials"):
            ask(ctx, name, password)
        assert hasher.work == [usual], (way, name, password)


# --- a session is always a new one --------------------------------------------------------------------------------------


@pytest.fixture(params=["made up", "of somebody else"])
def planted(request: pytest.FixtureRequest, cookies: dict[str, str]) -> str:
    """What another one put into the browser: nobody's session, or their own."""
    return "planted" if request.param == "made up" else cookies["bob"]


def opened(ctx: Context, browser: Browser, planted: str) -> str:
    """Whose session the browser has now; it is neither what was planted nor anything else that the browser had before."""
    kept = {name: browser.client.get_cookie(name) for name in ("garage", "garage-visit")}
    session = kept["garage"].value if kept["garage"] else ""
    assert session not in ("", planted, kept["garage-visit"] and kept["garage-visit"].value)
    before = accounts.by_session(ctx, planted)
    assert before is None or before[0].name == "bob", "what was planted opens nothing more"
    found = accounts.by_session(ctx, session)
    return found[0].name if found else ""


def test_a_password_opens_a_new_session(app: Flask, ctx: Context, planted: str) -> None:
    browser = Browser(app, planted)
    assert browser.post("/sign-in", name="alice", password=PASSWORD).status_code == 303
    assert opened(ctx, browser, planted) == "alice"


def test_a_second_factor_opens_a_new_session(
    app: Flask, ctx: Context, alice: Caller, planted: str, clock: Clock
) -> None:
    offer = second_factor.offer(ctx, alice)
    phone = pyotp.TOTP(offer.secret)
    second_factor.enrol(ctx, alice, offer.sealed, phone.at(clock()))
    clock.forward(60)
    browser = Browser(app, planted)
    asked = browser.post("/sign-in", name="alice", password=PASSWORD)
    between = browser.client.get_cookie("garage")
    assert between
    assert between.value == planted, "the password alone changes nothing"
    passed = html.unescape(re.findall(r'name="passed" value="([^"]+)"', asked.text)[0])
    assert accounts.by_session(ctx, passed) is None
    assert browser.post("/sign-in/code", passed=passed, code=phone.at(clock())).status_code == 303
    assert opened(ctx, browser, planted) == "alice"


def test_an_invitation_opens_a_new_session(app: Flask, ctx: Context, admin: Caller, planted: str) -> None:
    _, link = accounts.create_user(ctx, admin, "carol")
    browser = Browser(app, planted)
    typed = {"password": "password of carol", "again": "password of carol"}
    assert browser.post(f"/welcome/{link}", **typed).status_code == 303
    assert opened(ctx, browser, planted) == "carol"


def test_a_new_password_opens_a_new_session(app: Flask, ctx: Context, cookies: dict[str, str]) -> None:
    browser = Browser(app, cookies["alice"])
    typed = {"password": "another password", "again": "another password"}
    assert browser.post("/account/password", current=PASSWORD, **typed).status_code == 303
    assert opened(ctx, browser, cookies["alice"]) == "alice"
    assert accounts.by_session(ctx, cookies["alice"]) is None
