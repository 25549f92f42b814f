"""A security key in a real browser: Chromium's virtual authenticator is registered, and lets in."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from garage.services import passkeys
from garage.services.context import Caller
from tests.browser.conftest import Opener, Tab
from tests.browser.site import PASSWORD, Site

USB = {"protocol": "ctap2", "transport": "usb", "hasUserVerification": True, "isUserVerified": True}


def plug_in(tab: Tab) -> None:
    """A key that is touched whenever it blinks."""
    tools = tab.context.new_cdp_session(tab.page)
    tools.send("WebAuthn.enable")
    tools.send("WebAuthn.addVirtualAuthenticator", {"options": USB | {"automaticPresenceSimulation": True}})


def password(page: Page, who: Caller) -> None:
    page.fill("[name=name]", who.name)
    page.fill("[name=password]", PASSWORD)
    page.press("[name=password]", "Enter")


def test_a_key_is_registered_and_lets_in(site: Site, open_tab: Opener, alice: Caller) -> None:
    here = site.url.replace("127.0.0.1", "localhost")
    tab = open_tab(None, f"{here}/sign-in?next=/account/second-factor")
    page = tab.page
    plug_in(tab)
    password(page, alice)
    page.wait_for_url("**/account/second-factor")
    page.fill("#passkeys [name=name]", "key ring")
    page.locator("#passkeys button[data-with-keys]").click()
    expect(page.locator(".codes li")).to_have_count(10)
    page.goto(f"{here}/account/second-factor")
    expect(page.locator("#passkeys td.lead-cell")).to_have_text("key ring")
    page.fill("#passkeys [name=name]", "the same again")
    page.locator("#passkeys [data-passkey=create] button").click()
    expect(page.locator("#passkeys [data-passkey=create] [data-said]")).to_contain_text("registered already")

    tab.context.clear_cookies()
    page.goto(f"{here}/sign-in")
    password(page, alice)
    page.locator("button[data-with-keys]").click()
    page.wait_for_url("**/machines")
    [view] = passkeys.listing(site.ctx, alice)
    assert view.used_at is not None

    page.goto(f"{here}/account/second-factor")
    page.locator("#passkeys summary").click()
    page.locator("#passkeys details button[data-with-keys]").click()
    expect(page.locator("#passkeys td.lead-cell")).to_have_count(0)
    assert passkeys.listing(site.ctx, alice) == []


def test_where_keys_cannot_be_the_page_says_so(site: Site, open_tab: Opener, alice: Caller) -> None:
    """Opened by an IP address, it names where they can be; without scripts it offers codes."""
    page = open_tab(alice, "/account/second-factor").page
    expect(page.locator("#passkeys a")).to_have_text(site.url.replace("127.0.0.1", "localhost"))
    plain = open_tab(alice, "/account/second-factor", scripts=False).page
    expect(plain.locator("button[data-with-keys]")).to_have_count(0)
    expect(plain.locator("[name=code]").first).to_be_visible()
