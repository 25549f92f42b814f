"""A second factor: set up, asked for in both steps of signing in, each code once, recovery, who needs one."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pyotp
import pytest
from starlette.requests import HTTPConnection

from garage.api.app import make_flask
from garage.db.models import User
from garage.errors import GarageError
from garage.gateway.auth import authenticate
from garage.services import accounts, api_tokens, codes, grants, live, second_factor
from garage.services.context import Caller, Context
from garage.services.live import Credential
from garage.services.vault import digest
from tests.conftest import Clock, on_disk

HERE = ("192.0.2.1", "Browser/1")
PASSWORD = "password of alice"


def refused(code: str):
    return pytest.raises(GarageError, check=lambda error: error.code == code)


@pytest.fixture
def app(ctx: Context, alice: Caller, clock: Clock) -> pyotp.TOTP:
    """Alice's phone; her recovery codes hang on it."""
    offer = second_factor.offer(ctx, alice)
    phone = pyotp.TOTP(offer.secret)
    phone.codes = second_factor.enrol(ctx, alice, offer.sealed, shows(phone, clock))  # type: ignore[attr-defined]
    clock.forward(60)
    return phone


def shows(phone: pyotp.TOTP, clock: Clock, beside: float = 0) -> str:
    return str(phone.generate_otp(int((clock() + beside) // 30)))


def test_the_codes_are_those_of_the_standard() -> None:
    """RFC 6238, appendix B, the last six digits."""
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    for at, code in ((59, "287082"), (1111111109, "081804"), (20000000000, "353130")):
        assert second_factor._step_of(secret, code, at, 0) == at // 30
    assert second_factor._step_of(secret, "287083", 59, 0) is None


def test_nothing_is_kept_before_the_first_code(ctx: Context, alice: Caller, bob: Caller, clock: Clock) -> None:
    offer = second_factor.offer(ctx, alice)
    assert f"secret={offer.secret}" in offer.uri
    assert second_factor.codes_left(ctx, alice) is None
    with refused("wrong_credentials"):
        second_factor.enrol(ctx, alice, offer.sealed, "000000x")
    assert second_factor.codes_left(ctx, alice) is None
    phone = pyotp.TOTP(offer.secret)
    with refused("wrong_state"):
        second_factor.enrol(ctx, bob, offer.sealed, shows(phone, clock))
    clock.forward(second_factor.ENROL_SECONDS + 1)
    with refused("wrong_state"):
        second_factor.enrol(ctx, alice, offer.sealed, shows(phone, clock))
    assert accounts.sign_in(ctx, "alice", PASSWORD, *HERE)[1]


def test_a_password_alone_opens_nothing(ctx: Context, admin: Caller, app: pyotp.TOTP, clock: Clock) -> None:
    with refused("second_factor"):
        accounts.sign_in(ctx, "alice", PASSWORD, *HERE)
    with refused("second_factor"):
        api_tokens.log_in(ctx, "alice", PASSWORD, HERE[0], "cli")
    cookie, passed = codes.begin(ctx, "alice", PASSWORD, *HERE)
    assert cookie == ""
    assert accounts.by_session(ctx, passed) is None
    who, cookie = codes.finish(ctx, passed, shows(app, clock), *HERE)
    assert who.name == "alice"
    assert accounts.by_session(ctx, cookie) is not None
    clock.forward(60)
    assert api_tokens.log_in(ctx, "alice", PASSWORD, HERE[0], "cli", shows(app, clock)).startswith("garage_")
    link = accounts.reset_link(ctx, admin, "alice")
    assert accounts.accept_invitation(ctx, link, "another password", *HERE)[1] == "", "a link is the first factor only"


def test_a_code_is_good_once(ctx: Context, app: pyotp.TOTP, clock: Clock) -> None:
    code = shows(app, clock)
    _, passed = codes.begin(ctx, "alice", PASSWORD, *HERE)
    codes.finish(ctx, passed, code, *HERE)
    for again in (code, shows(app, clock, -30)):
        with refused("wrong_credentials"):
            codes.finish(ctx, passed, again, *HERE)
        with refused("wrong_credentials"):
            accounts.sign_in(ctx, "alice", PASSWORD, *HERE, code=again)
    assert codes.finish(ctx, passed, shows(app, clock, 30), *HERE)[1]


@pytest.mark.parametrize(("beside", "good"), [(0, True), (-30, True), (30, True), (-90, False), (90, False)])
def test_clocks_may_differ_a_little(ctx: Context, app: pyotp.TOTP, clock: Clock, beside: float, good: bool) -> None:
    clock.forward(300)
    _, passed = codes.begin(ctx, "alice", PASSWORD, *HERE)
    try:
        codes.finish(ctx, passed, shows(app, clock, beside), *HERE)
    except GarageError as error:
        assert (good, error.code) == (False, "wrong_credentials")
    else:
        assert good


def test_codes_cannot_be_tried_at_will_even_with_the_password(ctx: Context, app: pyotp.TOTP, clock: Clock) -> None:
    tried = 0
    with refused("too_many_attempts"):
        for _ in range(40):
            _, passed = codes.begin(ctx, "alice", PASSWORD, *HERE)
            with pytest.raises(GarageError, check=lambda error: error.code == "wrong_credentials"):
                codes.finish(ctx, passed, "000000x", *HERE)
            tried += 1
    assert tried <= accounts.ATTEMPTS_PER_NAME


def test_the_second_step_is_for_a_moment_and_for_that_password(
    ctx: Context, admin: Caller, app: pyotp.TOTP, clock: Clock
) -> None:
    _, passed = codes.begin(ctx, "alice", PASSWORD, *HERE)
    clock.forward(codes.PATIENCE + 1)
    with refused("link_expired"):
        codes.finish(ctx, passed, shows(app, clock), *HERE)
    _, passed = codes.begin(ctx, "alice", PASSWORD, *HERE)
    accounts.accept_invitation(ctx, accounts.reset_link(ctx, admin, "alice"), "another password", *HERE)
    for sealed in (passed, "x", ctx.vault.lock(b"[]").decode()):
        with refused("link_expired"):
            codes.finish(ctx, sealed, shows(app, clock), *HERE)


def test_recovery_codes_work_once_each(ctx: Context, alice: Caller, app: pyotp.TOTP, clock: Clock) -> None:
    first, second, *_ = app.codes  # type: ignore[attr-defined]
    assert len(set(app.codes)) == second_factor.CODES  # type: ignore[attr-defined]
    assert accounts.sign_in(ctx, "alice", PASSWORD, *HERE, code=first)[1]
    with refused("wrong_credentials"):
        accounts.sign_in(ctx, "alice", PASSWORD, *HERE, code=first)
    assert accounts.sign_in(ctx, "alice", PASSWORD, *HERE, code=second.upper().replace("-", " "))[1]
    assert second_factor.codes_left(ctx, alice) == second_factor.CODES - 2
    fresh = second_factor.renew_codes(ctx, alice, shows(app, clock))
    assert not set(fresh) & set(app.codes)  # type: ignore[attr-defined]
    dump = on_disk(ctx)
    for secret in (app.secret, *fresh):
        assert secret.encode() not in dump


def test_it_is_removed_with_a_code_or_by_an_admin(
    ctx: Context, admin: Caller, alice: Caller, app: pyotp.TOTP, clock: Clock
) -> None:
    with refused("wrong_credentials"):
        second_factor.remove(ctx, alice, "000000x")
    with refused("already_exists"):
        offer = second_factor.offer(ctx, alice)
        second_factor.enrol(ctx, alice, offer.sealed, shows(pyotp.TOTP(offer.secret), clock))
    with refused("forbidden"):
        second_factor.reset(ctx, alice, "alice")
    [view] = [view for view in accounts.list_users(ctx, admin) if view.name == "alice"]
    assert view.second_factor
    second_factor.reset(ctx, admin, "alice")
    assert accounts.sign_in(ctx, "alice", PASSWORD, *HERE)[1]
    with refused("not_found"):
        second_factor.reset(ctx, admin, "nobody")
    with refused("in_use"):
        second_factor.reset(ctx, admin, admin.name)


def signed_in(ctx: Context, admin: Caller) -> str:
    return accounts.accept_invitation(ctx, accounts.reset_link(ctx, admin, admin.name), "password of root", *HERE)[1]


def test_an_admin_without_one_is_no_admin(ctx: Context, admin: Caller, clock: Clock) -> None:
    strict = replace(ctx, config=replace(ctx.config, second_factor="admins"))
    cookie = signed_in(strict, admin)
    found = accounts.by_session(strict, cookie)
    assert found is not None
    assert (found[0].admin, found[1].lacks_factor) == (False, True)
    [sight] = live.look(strict, 0, [Credential("session", digest(cookie))], []).sights.values()
    assert not sight.caller.admin
    assert sight.projects is not None
    with refused("second_factor"):
        api_tokens.log_in(strict, admin.name, "password of root", HERE[0], "cli")
    _, secret = api_tokens.create(strict, admin, "made by make up")
    token = api_tokens.by_token(strict, secret)
    assert token is not None
    assert token.admin, "the server's own token needs no phone"
    offer = second_factor.offer(strict, found[0])
    thiefs = accounts.sign_in(strict, admin.name, "password of root", "192.0.2.66")[1]
    second_factor.enrol(strict, found[0], offer.sealed, shows(pyotp.TOTP(offer.secret), clock), cookie=cookie)
    assert accounts.by_session(strict, thiefs) is None, "a password alone opened it"
    found = accounts.by_session(strict, cookie)
    assert found is not None
    assert (found[0].admin, found[1].lacks_factor) == (True, False)


@pytest.mark.parametrize(("setting", "admins", "members"), [("optional", 0, 0), ("admins", 1, 0), ("all", 1, 1)])
def test_who_needs_one_is_a_setting(
    ctx: Context, admin: Caller, alice: Caller, setting: str, admins: int, members: int
) -> None:
    strict = replace(ctx, config=replace(ctx.config, second_factor=setting))
    with ctx.db.read() as session:
        users = {user.name: user for user in session.query(User)}
        missing = second_factor.missing(session, strict, grants.of(session, users.values()))
    assert (users["root-admin"].id in missing, users["alice"].id in missing) == (bool(admins), bool(members))


def test_a_session_without_one_is_good_for_its_set_up_alone(ctx: Context, alice: Caller) -> None:
    """Not for reading the API or opening streams beside the pages, either."""
    strict = replace(ctx, config=replace(ctx.config, second_factor="all"))
    cookie = accounts.sign_in(strict, "alice", PASSWORD, *HERE)[1]
    plain, asking = (make_flask(each).test_client() for each in (ctx, strict))
    for client in (plain, asking):
        client.set_cookie("garage", cookie)
    assert plain.get("/api/v1/me").status_code == 200
    answer = asking.get("/api/v1/me")
    assert (answer.status_code, answer.json["code"]) == (401, "second_factor")
    stream = HTTPConnection({"type": "http", "method": "GET", "headers": [(b"cookie", f"garage={cookie}".encode())]})
    assert asyncio.run(authenticate(ctx, stream))[0] == alice
    with refused("second_factor"):
        asyncio.run(authenticate(strict, stream))


def test_the_api_asks_for_the_code(ctx: Context, app: pyotp.TOTP, clock: Clock) -> None:
    client = make_flask(ctx).test_client()
    body = {"name": "alice", "password": PASSWORD}
    asked = client.post("/api/v1/login", json=body)
    assert (asked.status_code, asked.json["code"], asked.json["errors"][0]["pointer"]) == (
        401,
        "second_factor",
        "/code",
    )
    assert client.post("/api/v1/login", json=body | {"code": shows(app, clock)}).status_code == 201
