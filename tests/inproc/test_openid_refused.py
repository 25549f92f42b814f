"""A provider that lies, keeps silent or never ends: a clear page, no session, and nothing half made. Each lie is told on the way from a
real provider, in a sign-in there that is otherwise good."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx
import pytest
from joserfc.jwk import ECKey, RSAKey

from garage.app import make_web
from garage.core.openid import OpenId
from garage.services import accounts, proving
from garage.services.context import Caller, Context
from garage.shell.openid import Bounds, HttpProvider
from tests.conftest import Clock
from tests.inproc.openid_providers import (
    CLIENT,
    DISCOVERY,
    KEYS,
    SECRET,
    TOKEN,
    USERINFO,
    Claims,
    Liar,
    Real,
    free_port,
    lying,
    make_key,
    real,
)
from tests.inproc.openid_rig import BACK, House, entered, house, refused, running
from web import catalogue

OTHER = "https://other.example"


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    catalogue.compile_all()


class Present(Clock):
    """The provider lives there; tests go on from it."""

    def __init__(self) -> None:
        super().__init__(0.0)

    def __call__(self) -> float:
        return time.time() + self.now


@pytest.fixture
def clock() -> Clock:
    return Present()


@pytest.fixture(scope="module")
def key() -> RSAKey:
    return make_key()


@pytest.fixture(scope="module")
def provider() -> Iterator[Real]:
    with real() as found:
        found.person("1001", email="alice@example.ac.jp", email_verified=True)
        yield found


@pytest.fixture
def liar(provider: Real, key: RSAKey) -> Iterator[Liar]:
    with lying(provider, key) as found:
        yield found


@pytest.fixture
def home(ctx: Context, admin: Caller, liar: Liar) -> House:
    return house(ctx, liar.issuer)


def unsigned(header: Claims, claims: Claims, key: bytes = b"") -> str:
    """A token by hand: no library would make it."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
    body = b".".join(parts)
    mac = hmac.new(key, body, hashlib.sha256).digest() if key else b""
    return (body + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


def lies(liar: Liar, now: float) -> Iterator[tuple[str, str, Claims, Callable[[Claims], str] | None]]:
    """(what is wrong, what is said of it, claims that differ, how the token is made instead)."""
    public = liar.key.as_pem(private=False)
    for name, said, claims in (
        ("issuer", "iss", {"iss": OTHER}),
        ("no issuer", "iss", {"iss": None}),
        ("audience", "aud", {"aud": "another"}),
        ("no audience", "aud", {"aud": None}),
        ("audiences without azp", "azp", {"aud": [CLIENT, "another"]}),
        ("azp of another", "azp", {"aud": [CLIENT, "another"], "azp": "another"}),
        ("audience of another with our azp", "aud", {"aud": "another", "azp": CLIENT}),
        ("nonce", "nonce", {"nonce": "another"}),
        ("no nonce", "nonce", {"nonce": None}),
        ("expired", "expired", {"exp": int(now) - 3600, "iat": int(now) - 7200}),
        ("no end", "exp", {"exp": None}),
        ("an end in words", "exp", {"exp": "tomorrow"}),
        ("of the future", "future", {"iat": int(now) + 7200, "exp": int(now) + 9000}),
        ("not before", "not yet", {"nbf": int(now) + 7200}),
        ("at_hash", "at_hash", {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}),
        ("nobody", "nobody", {"sub": ""}),
        ("no subject", "sub", {"sub": None}),
        ("a number", "sub", {"sub": 7}),
        ("a long subject", "nobody", {"sub": "x" * 300}),
        ("a subject with NUL", "nobody", {"sub": "a\0b"}),
    ):
        yield name, said, claims, None
    two, own = make_key("two"), ECKey.generate_key("P-256")
    for name, said, token in (
        ("alg none", "none", lambda claims: unsigned({"alg": "none"}, claims)),
        ("alg None", "None", lambda claims: unsigned({"alg": "None", "kid": "lie"}, claims)),
        ("HS256 by the secret", "HS256", lambda claims: unsigned({"alg": "HS256"}, claims, SECRET.encode())),
        ("HS256 by the key", "HS256", lambda claims: unsigned({"alg": "HS256", "kid": "lie"}, claims, public)),
        ("another's key", "bad_signature", lambda claims: liar.sign(claims, two)),
        ("a key that is not listed", "two", lambda claims: liar.sign(claims, two, kid="two")),
        ("a key it brings along", "own", lambda claims: liar.sign(claims, own, **_brought(own))),
        ("no signature", "bad_signature", lambda claims: liar.sign(claims).rpartition(".")[0] + "."),
        ("changed afterwards", "bad_signature", lambda claims: _swapped(liar, claims)),
        ("no token", "decode_error", lambda claims: ""),
        ("words", "decode_error", lambda claims: "a.b.c"),
        ("encrypted", "decode_error", lambda claims: "a.b.c.d.e"),
    ):
        yield name, said, {}, token


def _brought(key: ECKey) -> Claims:
    return {"alg": "ES256", "kid": "own", "jwk": key.as_dict(private=False)}


def _swapped(liar: Liar, claims: Claims) -> str:
    head, _, signature = liar.sign(claims).split(".")
    body = base64.urlsafe_b64encode(json.dumps({**claims, "sub": "1002"}).encode()).rstrip(b"=").decode()
    return f"{head}.{body}.{signature}"


def test_no_false_token_is_taken(home: House, liar: Liar, clock: Clock) -> None:
    before = home.rows()
    for name, said, claims, token in lies(liar, clock()):
        liar.claims, liar.token = claims, token
        browser = home.browser()
        told = home.back(browser, liar.agree(home.go(browser)))
        assert told.status_code == 502, (name, told.text)
        assert said in told.text.partition("not to be trusted: ")[2].partition("<")[0], name
        refused(told, 502, "openid_failed")
        assert home.rows() == before, name
    for token in (liar.sign, None):  # an honest one is, by our key and by its own
        liar.claims, liar.token = {}, token
        browser = home.browser()
        assert entered(home.back(browser, liar.agree(home.go(browser))))
    assert home.users() == ["alice", "root-admin"]


def test_new_keys_count_at_once(home: House, liar: Liar) -> None:
    for key in (liar.key, make_key("two")):
        liar.key, liar.token = key, lambda claims: liar.sign(claims, kid=liar.key.kid)
        browser = home.browser()
        assert entered(home.back(browser, liar.agree(home.go(browser))))


def test_what_the_token_lacks_its_userinfo_says(home: House, liar: Liar) -> None:
    liar.claims = {"email": None, "email_verified": None}
    liar.over[USERINFO] = {"email": "bo@example.ac.jp"}
    browser = home.browser()
    assert entered(home.back(browser, liar.agree(home.go(browser))))
    assert home.users() == ["bo", "root-admin"]
    before, liar.over[USERINFO] = home.rows(), {"sub": "another"}
    browser = home.browser()
    refused(home.back(browser, liar.agree(home.go(browser))), 502, "openid_failed")
    assert home.rows() == before


def test_when_somebody_was_asked_the_token_alone_says(home: House, liar: Liar, clock: Clock) -> None:
    """The userinfo endpoint tells of a person, not of a sign-in; and some let people write there."""
    liar.claims = {"email": None, "email_verified": None, "auth_time": None}
    liar.over[USERINFO] = {"auth_time": int(clock())}
    browser = home.browser()
    cookie = entered(home.back(browser, liar.agree(home.go(browser))))
    assert cookie
    assert not proving.is_recent(home.ctx, cookie)
    before = home.rows()
    told = home.back(browser, liar.agree(home.go(browser, again="1")))
    refused(told, 502, "openid_failed")
    assert "does not say when" in told.text
    assert home.rows() == before


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"issuer": OTHER}, "another issuer"),
        ({"issuer": None}, "another issuer"),
        ({"token_endpoint": "http://example.org/token"}, "not https"),
        ({"jwks_uri": "file:///etc/passwd"}, "not https"),
        ({"authorization_endpoint": "javascript:alert(1)"}, "not https"),
        ({"userinfo_endpoint": ["https://example.org"]}, "not https"),
        ({"token_endpoint": None}, "not https"),
    ],
)
def test_a_discovery_document_is_the_issuers_own(document: Claims, said: str, home: House, liar: Liar) -> None:
    liar.over[DISCOVERY] = document
    told = home.browser().get("/sign-in/openid")
    refused(told, 502, "openid_failed")
    assert said in told.text


def test_the_address_that_comes_back_is_judged(home: House, liar: Liar, clock: Clock) -> None:
    before = home.rows()
    for query, status, code in (
        ("error=access_denied", 403, "forbidden"),
        ("error=temporarily_unavailable", 503, "unavailable"),
        ("error=%3Cscript%3Ealert%3C/script%3E", 502, "openid_failed"),
        ("", 502, "openid_failed"),
        (f"code=x&iss={OTHER}", 502, "openid_failed"),
        ("code=x", 410, "link_expired"),
    ):
        browser = home.browser()
        state = home.go(browser).partition("state=")[2].partition("&")[0]
        told = browser.get(f"{BACK}?state={state}&{query}")
        refused(told, status, code)
        assert "<script>" not in told.text
    for query in ("code=x", "code=x&state=", "code=x&state=another", "code=x&state=%E3%81%82", "error=x&state=another"):
        browser = home.browser()
        home.go(browser)
        refused(browser.get(f"{BACK}?{query}"), 410, "link_expired")
        refused(home.browser().get(f"{BACK}?{query}"), 410, "link_expired")
    late = home.browser()
    back = liar.agree(home.go(late))
    clock.forward(901)
    refused(home.back(late, back), 410, "link_expired")
    assert home.rows() == before
    asked = home.browser()
    assert entered(home.back(asked, f"{liar.agree(home.go(asked))}&iss={liar.issuer}")), "its own `iss` is no harm"


def hang_in_the_head(handler: BaseHTTPRequestHandler) -> None:
    _drip(handler, b"HTTP/1.1 200 OK\r\nX: ", b"x")


def hang_in_the_body(handler: BaseHTTPRequestHandler) -> None:
    _drip(handler, b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b" ")


def never_end(handler: BaseHTTPRequestHandler) -> None:
    _send(handler, b"HTTP/1.1 200 OK\r\n\r\n")
    while _send(handler, b" " * 65536):
        pass


def elsewhere(handler: BaseHTTPRequestHandler) -> None:
    _send(handler, b"HTTP/1.1 307 Go\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")


def words(handler: BaseHTTPRequestHandler) -> None:
    _send(handler, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")


def deep(handler: BaseHTTPRequestHandler) -> None:
    _send(handler, b"HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\n" + b"[" * 40_000)


def fault(handler: BaseHTTPRequestHandler) -> None:
    _send(handler, b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")


def no_http(handler: BaseHTTPRequestHandler) -> None:
    _send(handler, b"220 mail.example ESMTP\r\n")


def _send(handler: BaseHTTPRequestHandler, data: bytes) -> bool:
    handler.close_connection = True
    try:
        handler.wfile.write(data)
    except OSError:
        return False
    return True


def _drip(handler: BaseHTTPRequestHandler, first: bytes, then: bytes) -> None:
    _send(handler, first)
    handler.connection.settimeout(0.05)
    while _send(handler, then):
        try:
            if not handler.connection.recv(1):
                return
        except TimeoutError:
            continue
        except OSError:
            return


MISDEEDS: dict[Callable[[BaseHTTPRequestHandler], None], tuple[int, str]] = {
    hang_in_the_head: (504, "timeout"),
    hang_in_the_body: (504, "timeout"),
    never_end: (502, "openid_failed"),
    elsewhere: (502, "openid_failed"),
    words: (502, "openid_failed"),
    deep: (502, "openid_failed"),
    fault: (503, "unavailable"),
    no_http: (503, "unavailable"),
}


def test_a_provider_that_does_wrong_costs_a_moment(home: House, liar: Liar) -> None:
    """At each of the three places that are asked."""
    before = home.rows()
    for path in (DISCOVERY, TOKEN, KEYS):
        for misdeed, (status, code) in MISDEEDS.items():
            browser, back = home.browser(), ""
            home.provider._bounds, home.provider._known = Bounds(whole=60.0, most=50_000), None
            if path != DISCOVERY:
                back = liar.agree(home.go(browser))
            home.provider._bounds = Bounds(whole=0.4 if status == 504 else 60.0, most=50_000)
            liar.raw = {path: misdeed}
            told = home.back(browser, back) if back else browser.get("/sign-in/openid")
            liar.raw = {}
            assert told.status_code == status, (path, misdeed, told.text)
            refused(told, status, code)
    assert home.rows() == before
    assert "/elsewhere" not in liar.asked


def test_a_provider_that_is_away(ctx: Context, admin: Caller) -> None:
    home = house(ctx, f"http://127.0.0.1:{free_port()}")
    told = home.browser().get("/sign-in/openid", Accept_Language="ja")
    refused(told, 503, "unavailable")
    assert "応答しません" in told.text
    listening = socket.create_server(("127.0.0.1", 0), backlog=1)  # takes connections, and says nothing
    silent = house(ctx, f"http://127.0.0.1:{listening.getsockname()[1]}", bounds=Bounds(whole=0.3))
    refused(silent.browser().get("/sign-in/openid"), 504, "timeout")
    listening.close()


def test_few_conversations_are_held_at_once(ctx: Context, liar: Liar) -> None:
    """The others are told so soon, instead of holding all the threads that answer requests."""
    settings = OpenId(liar.issuer, CLIENT, domains=("example.ac.jp",))
    provider = HttpProvider(settings, ctx.config.home / "none", Bounds(whole=0.5, at_once=1))
    with provider._place(), pytest.raises(Exception, match="too slow"):
        provider.address("http://x", "s", "n", "v", 60)
    assert liar.asked == []
    assert provider.address("http://x", "s", "n", "v", 60).startswith(liar.issuer)


def test_the_secret_is_the_garages_alone(home: House, liar: Liar, caplog: pytest.LogCaptureFixture) -> None:
    path = home.ctx.config.openid_secret
    for spoil in (lambda: path.chmod(0o644), path.unlink):
        spoil()
        browser = home.browser()
        refused(home.back(browser, liar.agree(home.go(browser))), 500, "config")
    assert SECRET not in caplog.text


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_sign_in_page_has_the_button(language: str, home: House, ctx: Context) -> None:
    words = {"en": "Sign in with Example University", "ja": "Example University でサインイン"}
    text = home.browser().get("/sign-in?next=/keys", Accept_Language=language).text
    assert words[language] in text
    assert f'href="{home.ctx.config.outside}/sign-in/openid?next=/keys"' in text


def test_without_the_setting_there_is_none(home: House, ctx: Context) -> None:
    bare = replace(home, ctx=ctx)
    browser = bare.browser()
    assert "openid" not in browser.get("/sign-in").text
    for told in (browser.get("/sign-in/openid"), browser.get(BACK), browser.post("/account/openid")):
        assert told.status_code in (401, 404)


def test_the_server_is_put_together_with_it(home: House, liar: Liar) -> None:
    """The whole of it, as `garage-server web` does it."""
    with running(make_web(home.ctx), home.ctx) as url, httpx.Client(base_url=url, trust_env=False) as browser:
        there = browser.get("/sign-in/openid?next=/keys").headers["Location"]
        back = liar.agree(there).removeprefix(home.ctx.config.outside)
        told = browser.get(back)
        assert (told.status_code, told.headers["Location"]) == (303, "/keys")
        assert browser.get("/keys").status_code == 200


def test_guesses_are_counted(home: House, liar: Liar, monkeypatch: pytest.MonkeyPatch) -> None:
    """By address, as those of passwords are; who comes in at last costs nothing."""
    monkeypatch.setattr(accounts, "ATTEMPTS_PER_ADDRESS", 3)
    for _ in range(accounts.ATTEMPTS_PER_ADDRESS + 2):
        browser = home.browser()
        last = home.back(browser, liar.agree(home.go(browser)))
    assert entered(last)
    liar.claims = {"nonce": "another"}
    told: Any = None
    for _ in range(accounts.ATTEMPTS_PER_ADDRESS + 1):
        browser = home.browser()
        told = home.back(browser, liar.agree(home.go(browser)))
    refused(told, 429, "too_many_attempts")


def test_the_password_page_says_what_else_there_is(home: House, alice: Caller) -> None:
    with pytest.raises(Exception, match="name or password is wrong") as refusal:
        accounts.sign_in(home.ctx, "alice", "wrong", "192.0.2.7")
    assert "--token-stdin" in refusal.value.hint  # type: ignore[attr-defined]
