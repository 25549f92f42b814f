"""Sign-in by OpenID Connect at a real provider: accounts, projects, sessions, and who stays out."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

import pyotp
import pytest
from sqlalchemy import select

from garage.db.models import Audit, Session
from garage.errors import GarageError
from garage.services import accounts, offboarding, openid, projects, proving, second_factor
from garage.services.context import Caller, Context
from garage.services.vault import digest
from tests.inproc.openid_providers import Real, real
from tests.inproc.openid_rig import House, entered, house, refused
from tests.inproc.test_pages import Browser
from tests.inproc.test_second_factor_shown import field
from web import catalogue


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    catalogue.compile_all()


@pytest.fixture(scope="module")
def provider() -> Iterator[Real]:
    with real() as found:
        yield found


@pytest.fixture
def now(ctx: Context) -> Context:
    """The provider lives in the present."""
    return replace(ctx, clock=time.time)


@pytest.fixture
def home(now: Context, admin: Caller, provider: Real) -> House:
    return house(now, provider.issuer, groups=("robots",))


def come(home: House, provider: Real, subject: str, browser: Browser | None = None) -> tuple[Browser, str]:
    """Somebody signs in; (their browser, the cookie of their session)."""
    browser = browser or home.browser()
    told = home.back(browser, provider.agree(home.go(browser), subject))
    assert (told.status_code, told.location) == (303, "/keys"), told.text
    return browser, entered(told)


def caller(home: House, cookie: str) -> Caller:
    found = accounts.by_session(home.ctx, cookie)
    assert found
    return found[0]


def member(provider: Real, subject: str, name: str = "alice") -> None:
    provider.person(subject, email=f"{name}@example.ac.jp", email_verified=True)


def test_the_first_sign_in_makes_a_project_and_the_second_finds_it(home: House, provider: Real) -> None:
    member(provider, "first-1", "Dana.Scully")
    browser, cookie = come(home, provider, "first-1")
    who = caller(home, cookie)
    assert (who.name, who.admin) == ("dana-scully", False)
    [project] = projects.listing(home.ctx, who)
    assert (project.name, project.personal, project.role) == ("dana-scully", True, "owner")
    assert project.usage.quota == home.ctx.config.quota
    assert browser.get("/keys").status_code == 200
    shown = browser.get("/account").text
    assert "by OpenID Connect" in shown
    assert 'id="password"' not in shown, "there is none to change"
    again = come(home, provider, "first-1")[1]
    assert caller(home, again).user_id == who.user_id
    assert again != cookie
    assert home.sessions() == [("dana-scully", "openid")] * 2
    with home.ctx.db.read() as session:
        said = [(row.action, row.actor, row.detail) for row in session.scalars(select(Audit).order_by(Audit.id))]
    arrived = {"issuer": provider.issuer, "sub": "first-1", "email": "Dana.Scully@example.ac.jp"}
    assert ("user.arrive", "dana-scully", arrived) in said
    assert [action for action, *_ in said].count("session.open") == 2


def test_an_equal_name_or_address_is_somebody_else(home: House, provider: Real, alice: Caller, admin: Caller) -> None:
    projects.create(home.ctx, alice, "alice-2")
    member(provider, "equal-1")
    member(provider, "equal-2")
    names = [caller(home, come(home, provider, subject)[1]).name for subject in ("equal-1", "equal-2", "equal-1")]
    assert names == ["alice-3", "alice-4", "alice-3"], "alice is a user, alice-2 a project"
    found = {user.name: user for user in accounts.list_users(home.ctx, admin)}
    assert (found["alice"].openid, found["alice-3"].openid) == (False, True)


def test_a_group_lets_in_too_and_leaving_it_ends_that(home: House, provider: Real) -> None:
    provider.person("group-1", preferred_username="bot", groups=["cars", "robots"])
    assert caller(home, come(home, provider, "group-1")[1]).name == "bot"
    provider.person("group-1", preferred_username="bot", groups=["cars"])
    before, browser = home.rows(), home.browser()
    refused(home.back(browser, provider.agree(home.go(browser), "group-1")), 403, "forbidden")
    assert home.rows() == before


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"email": "eve@example.com", "email_verified": True}, "eve@example.com may not come in here"),
        ({"email": "eve@sub.example.ac.jp", "email_verified": True}, "eve@sub.example.ac.jp may not"),
        ({"email": "eve@example.ac.jp"}, "has not verified"),
        ({"email": "eve@example.ac.jp", "email_verified": False}, "has not verified"),
        ({"email": "eve@example.ac.jp", "email_verified": "true"}, "has not verified"),
        ({"groups": ["Robots", "robot", ["robots"]]}, "eve-1 may not"),
        ({}, "eve-1 may not"),
    ],
)
def test_who_is_not_allowed_stays_out(claims: dict[str, object], said: str, home: House, provider: Real) -> None:
    provider.person("eve-1", **claims)
    before, browser = home.rows(), home.browser()
    told = home.back(browser, provider.agree(home.go(browser), "eve-1"))
    refused(told, 403, "forbidden")
    assert said.lower() in told.text.lower()
    assert home.rows() == before
    with home.ctx.db.read() as session:
        [row] = session.scalars(select(Audit).where(Audit.action == "session.refuse"))
    assert (row.subject, row.actor) == (claims.get("email", "eve-1"), "garage")


def test_who_was_disabled_or_let_go_stays_out(home: House, provider: Real, admin: Caller) -> None:
    for number, end in enumerate(
        (
            lambda name: accounts.set_disabled(home.ctx, admin, name, True),
            lambda name: offboarding.offboard(home.ctx, admin, name),
        )
    ):
        member(provider, f"gone-{number}", f"gone{number}")
        browser, cookie = come(home, provider, f"gone-{number}")
        end(f"gone{number}")
        assert accounts.by_session(home.ctx, cookie) is None
        users = home.users()
        refused(home.back(browser, provider.agree(home.go(browser), f"gone-{number}")), 403, "forbidden")
        assert (home.users(), home.sessions()) == (users, [])


def test_a_no_there_is_told_in_both_languages(home: House, provider: Real) -> None:
    for language, word in (("en", "you or it said no"), ("ja", "断られました")):
        browser = home.browser()
        told = home.back(browser, provider.deny(home.go(browser)), Accept_Language=language)
        refused(told, 403, "forbidden")
        assert word in told.text
    assert home.sessions() == []


def test_an_answer_counts_once_and_in_its_own_browser(home: House, provider: Real) -> None:
    member(provider, "once-1", "once")
    browser, other = home.browser(), home.browser()
    back = provider.agree(home.go(browser), "once-1")
    home.go(other)
    refused(home.back(other, back), 410, "link_expired")
    refused(home.back(home.browser(), back), 410, "link_expired")
    kept = browser.client.get_cookie("garage-openid")
    assert kept
    assert entered(home.back(browser, back))
    before = home.rows()
    refused(home.back(browser, back), 410, "link_expired")
    thief = home.browser()
    thief.client.set_cookie("garage-openid", kept.value)
    refused(home.back(thief, back), 410, "link_expired")  # the provider's word: the code was used
    assert home.rows() == before


def test_a_session_is_made_new(home: House, provider: Real, alice: Caller) -> None:
    """Whatever cookie somebody planted: it opens nothing, before and after."""
    member(provider, "fixed-1", "fixed")
    browser = home.browser()
    browser.client.set_cookie("garage", "planted")
    cookie = come(home, provider, "fixed-1", browser)[1]
    assert cookie not in ("", "planted")
    assert accounts.by_session(home.ctx, "planted") is None


@pytest.mark.parametrize("following", ["//evil.example", "https://evil.example/", "/\\evil.example", "evil", "/\tx"])
def test_next_leads_nowhere_else(following: str, home: House, provider: Real) -> None:
    member(provider, "next-1", "next")
    browser = home.browser()
    told = browser.client.get("/sign-in/openid", query_string={"next": following})
    if told.status_code == 303:
        told = home.back(browser, provider.agree(told.location, "next-1"))
        assert (told.status_code, told.location) == (303, "/machines")
    else:
        assert told.status_code == 422


def signed_in(home: House, admin: Caller, name: str) -> Browser:
    """By a password."""
    link = accounts.reset_link(home.ctx, admin, name)
    return home.browser(accounts.accept_invitation(home.ctx, link, f"password of {name}", "192.0.2.9")[1])


def connect(home: House, provider: Real, browser: Browser, subject: str) -> str:
    """Through the account page; where it ends."""
    page = browser.post("/account/openid")
    assert page.status_code == 200
    link = page.text.partition('class="button door-button" href="')[2].partition('"')[0].replace("&amp;", "&")
    told = home.back(browser, provider.agree(link, subject))
    return told.location or told.text


def test_an_account_is_connected_by_whoever_it_belongs_to(
    home: House, provider: Real, admin: Caller, alice: Caller
) -> None:
    member(provider, "connect-1")
    member(provider, "connect-2", "other")
    browser = signed_in(home, admin, "alice")
    assert browser.client.post("/account/openid").status_code == 403, "not without the form's token"
    assert connect(home, provider, browser, "connect-1") == "/account#openid"
    assert connect(home, provider, browser, "connect-1") == "/account#openid"
    assert openid.connected(home.ctx, alice)
    assert caller(home, come(home, provider, "connect-1")[1]).user_id == alice.user_id
    bob = caller(home, come(home, provider, "connect-2")[1])
    assert "already_exists" in connect(home, provider, browser, "connect-2")
    assert not openid.connected(home.ctx, replace(bob, user_id=admin.user_id))
    assert browser.post("/account/openid/remove").status_code == 303
    assert not openid.connected(home.ctx, alice)
    assert caller(home, come(home, provider, "connect-1")[1]).name == "alice-2", "it is nobody's any more"


def test_connecting_ends_where_it_began(home: House, provider: Real, admin: Caller, alice: Caller) -> None:
    """Somebody else, or nobody, is signed in when the browser comes back."""
    member(provider, "moved-1", "moved")
    browser = signed_in(home, admin, "alice")
    page = browser.post("/account/openid").text
    link = page.partition('class="button door-button" href="')[2].partition('"')[0].replace("&amp;", "&")
    back = provider.agree(link, "moved-1")
    browser.post("/sign-out")
    before = home.rows()
    refused(home.back(browser, back), 410, "link_expired")
    assert home.rows() == before


def test_who_has_no_password_cannot_lock_themselves_out(home: House, provider: Real) -> None:
    member(provider, "only-1", "only")
    browser, cookie = come(home, provider, "only-1")
    assert browser.post("/account/openid/remove").status_code == 409
    assert openid.connected(home.ctx, caller(home, cookie))


def test_the_provider_answers_for_a_members_second_factor(now: Context, admin: Caller, provider: Real) -> None:
    strict = replace(now, config=replace(now.config, second_factor="all"))
    home = house(strict, provider.issuer)
    member(provider, "factor-1", "fay")
    browser, cookie = come(home, provider, "factor-1")
    assert browser.get("/keys").status_code == 200
    found = accounts.by_session(home.ctx, cookie)
    assert found
    assert not found[1].lacks_factor


def test_an_admin_needs_the_garages_own_unless_it_is_said_otherwise(
    now: Context, admin: Caller, provider: Real
) -> None:
    member(provider, "boss-1", "boss")
    easy = house(now, provider.issuer)
    assert connect(easy, provider, signed_in(easy, admin, admin.name), "boss-1") == "/account#openid"
    strict = replace(now, config=replace(now.config, second_factor="admins"))
    home = house(strict, provider.issuer)
    assert not caller(home, come(home, provider, "boss-1")[1]).admin, "none yet: a member's rights"
    trusting = house(strict, provider.issuer, second_factor="provider")
    assert caller(trusting, come(trusting, provider, "boss-1")[1]).admin
    offer = second_factor.offer(home.ctx, admin)
    codes = second_factor.enrol(home.ctx, admin, offer.sealed, pyotp.TOTP(offer.secret).now())
    browser = home.browser()
    asked = home.back(browser, provider.agree(home.go(browser), "boss-1"))
    assert (asked.status_code, entered(asked)) == (200, "")
    passed = field(asked.text, "passed")
    assert browser.post("/sign-in/code", passed=passed, code="12").status_code == 401
    done = browser.post("/sign-in/code", passed=passed, code=codes[0])
    assert caller(home, entered(done)).admin
    assert ("root-admin", "openid") in home.sessions()
    assert caller(trusting, come(trusting, provider, "boss-1")[1]).admin, "nobody is asked for a code there"


def test_who_has_only_the_provider_proves_themselves_there(home: House, provider: Real) -> None:
    member(provider, "proof-1", "proof")
    browser, cookie = come(home, provider, "proof-1")
    assert proving.is_recent(home.ctx, cookie)
    with home.ctx.db.write() as session:
        session.get_one(Session, digest(cookie)).proved_at = 0.0
    assert browser.post("/account/tokens", name="ci").status_code == 303
    with pytest.raises(GarageError, match="neither a password nor a second factor"):
        proving.prove(home.ctx, caller(home, cookie), cookie, "", "", "192.0.2.9")
    link = re.search(r'href="(/sign-in/openid\?[^"]*)"', browser.get("/account/proof?next=/keys").text)
    assert link
    there = browser.get(html.unescape(link[1]))
    assert {("prompt", "login"), ("max_age", "0")} <= set(parse_qsl(urlsplit(there.location).query))
    told = home.back(browser, provider.agree(there.location, "proof-1"))
    assert told.location == "/keys"
    assert proving.is_recent(home.ctx, entered(told))
    assert not proving.is_recent(home.ctx, cookie)


def proved_at(home: House, cookie: str) -> float:
    with home.ctx.db.read() as session:
        return session.get_one(Session, digest(cookie)).proved_at


@pytest.mark.parametrize(
    ("ago", "said", "japanese"),
    [
        (3600, "without asking who you are", "確かめずに通しました"),
        (None, "does not say when it last asked", "いつ確かめたかを伝えません"),
    ],
)
def test_an_open_session_there_proves_nothing(
    ago: int | None, said: str, japanese: str, home: House, provider: Real
) -> None:
    """The provider lets them through without a question, whatever it was asked for: it tells so, or tells nothing."""
    at = int(time.time()) - ago if ago else None
    provider.person("open-1", email="open@example.ac.jp", email_verified=True, auth_time=at)
    browser, cookie = come(home, provider, "open-1")
    assert proved_at(home, cookie) == (at or 0.0)
    assert "/account/proof?next=" in browser.get("/keys").text, "the way to it is shown"
    assert browser.post("/account/tokens", name="ci").location.startswith("/account/proof?")
    before = home.rows()
    for language, words in (("en", said), ("ja", japanese)):
        told = home.back(browser, provider.agree(home.go(browser, again="1"), "open-1"), Accept_Language=language)
        refused(told, 502, "openid_failed")
        assert words in told.text
    assert home.rows() == before
    assert browser.get("/keys").status_code == 200, "still signed in"
    assert (home.tokens(), proving.is_recent(home.ctx, cookie)) == (0, False)


def test_who_was_asked_there_just_now_is_not_asked_again(home: House, provider: Real) -> None:
    """However far the provider's clock is ahead: within the leeway, else it is not to be trusted."""
    provider.person("ahead-1", email="ahead@example.ac.jp", email_verified=True, auth_time=int(time.time()) + 3600)
    browser = home.browser()
    refused(home.back(browser, provider.agree(home.go(browser), "ahead-1")), 502, "openid_failed")
    slow = replace(home, ctx=replace(home.ctx, clock=lambda: time.time() - 30))
    member(provider, "ahead-1", "ahead")
    browser, cookie = come(slow, provider, "ahead-1")
    assert proved_at(slow, cookie) <= slow.ctx.clock()
    assert browser.post("/account/tokens", name="ci").status_code == 201


def test_an_admin_may_let_each_sign_in_count(home: House, provider: Real) -> None:
    """For a provider that never says when it asked."""
    home = house(home.ctx, provider.issuer, proof="sign-in")
    provider.person("silent-1", email="silent@example.ac.jp", email_verified=True, auth_time=None)
    browser, cookie = come(home, provider, "silent-1")
    assert proving.is_recent(home.ctx, cookie)
    there = home.go(browser, again="1")
    asked = dict(parse_qsl(urlsplit(there).query))
    assert (asked["prompt"], "max_age" in asked) == ("select_account", False)
    assert proving.is_recent(home.ctx, entered(home.back(browser, provider.agree(there, "silent-1"))))
