"""How letting people in and letting them go looks: recovery codes, the code at the door, what became of somebody who left."""

from __future__ import annotations

import pyotp
import pytest
from playwright.sync_api import expect
from sqlalchemy import update

from garage.db.models import Session
from garage.services import accounts
from tests.browser.conftest import Opener
from tests.browser.site import PASSWORD, Site
from tests.browser.test_screens import checked

LOOKS = [("ja-JP", "light", False), ("en-GB", "dark", True)]


@pytest.mark.parametrize(("language", "theme", "phone"), LOOKS)
def test_codes_and_a_farewell(language: str, theme: str, phone: bool, site: Site, open_tab: Opener) -> None:
    name, look_name = f"carol-{theme}", f"{language[:2]}-{theme}-{'phone' if phone else 'wide'}"
    looks = {"language": language, "theme": theme, "phone": phone}
    who, problems = site.user(name), list[str]()
    site.wait(site.make(who, "arm"), "ready")

    page = open_tab(who, "/account/second-factor", **looks).page
    secret = page.locator("[data-copy]").first.get_attribute("data-copy") or ""
    page.fill("[name=code]", pyotp.TOTP(secret).now())
    page.locator("main button.primary").click()
    page.wait_for_selector(".codes")
    assert page.locator(".codes li").count() == 10
    recovery = page.locator(".codes code").first.inner_text()
    problems += checked(page, "recovery-codes", look_name, phone)
    page.goto("/account/second-factor")
    problems += checked(page, "factor-on", look_name, phone)
    with site.ctx.db.write() as session:
        session.execute(update(Session).where(Session.user_id == who.user_id).values(proved_at=0.0))
    page.goto("/account")
    problems += checked(page, "account-old", look_name, phone)
    page.locator("#tokens a.button").click()
    problems += checked(page, "proof", look_name, phone)
    page.fill("[name=password]", PASSWORD)
    page.fill("[name=code]", recovery)
    page.locator("main button.primary").click()
    page.wait_for_url("**/account#tokens")
    expect(page.locator("#tokens button.primary")).to_be_visible()

    door = open_tab(None, "/sign-in", **looks).page
    door.fill("[name=name]", name)
    door.fill("[name=password]", PASSWORD)
    door.locator("button.primary").click()
    door.wait_for_selector("[autocomplete=one-time-code]")
    problems += checked(door, "code", look_name, phone)

    link = accounts.reset_link(site.ctx, site.admin, "admin")
    admin = accounts.accept_invitation(site.ctx, link, PASSWORD, "192.0.2.1")[0]
    above = open_tab(admin, f"/users/{name}/offboard", **looks).page
    expect(above.locator(".menu [aria-current]")).to_be_in_viewport(ratio=1)
    above.locator("main form button.bad").click()
    above.wait_for_load_state()
    problems += checked(above, "offboarded", look_name, phone)
    assert problems == []
