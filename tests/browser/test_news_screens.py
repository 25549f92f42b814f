"""How it looks when a garage tells people something: the announcement on top of every page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from garage.services import accounts, announcements
from garage.services.announcements import NewAnnouncement
from garage.services.context import Caller
from tests.browser.conftest import Opener
from tests.browser.site import PASSWORD, Site
from tests.browser.test_screens import checked

LOOKS = [("ja-JP", "light", False), ("en-GB", "dark", True)]
SAID = NewAnnouncement(
    "Rack 2 moves on Saturday from 10:00 to 12:00.\nMachines there pause for some minutes.",
    "土曜日の10:00から12:00にラック2を移します。\nそこにある機械は数分止まります。",
)


@pytest.fixture
def admin(site: Site) -> Iterator[Caller]:
    link = accounts.reset_link(site.ctx, site.admin, "admin")
    yield accounts.accept_invitation(site.ctx, link, PASSWORD, "192.0.2.1")[0]
    announcements.clear(site.ctx, site.admin)


@pytest.mark.parametrize(("language", "theme", "phone"), LOOKS)
def test_an_announcement(language: str, theme: str, phone: bool, site: Site, admin: Caller, open_tab: Opener) -> None:
    look_name, problems = f"{language[:2]}-{theme}-{'phone' if phone else 'wide'}", list[str]()
    looks = {"language": language, "theme": theme, "phone": phone}
    announcements.put(site.ctx, site.admin, SAID)
    door = open_tab(None, "/sign-in", **looks).page
    problems += checked(door, "announced-sign-in", look_name, phone)
    banner, main = door.locator(".said").bounding_box(), door.locator(".door-room").bounding_box()
    assert banner is not None
    assert main is not None
    assert banner["y"] + banner["height"] <= main["y"], "it covers nothing"
    door.locator(".said button").click()
    door.wait_for_selector(".said", state="detached")
    above = open_tab(admin, "/announcement", **looks).page
    problems += checked(above, "announcement", look_name, phone)
    above.fill("[name=text_en]", "Power is off at noon")
    above.fill("[name=text_ja]", "正午に停電します")
    above.select_option("[name=severity]", "warning")
    above.locator("main form button.primary").click()
    above.wait_for_selector(".said-warning")
    above.goto("/machines")
    problems += checked(above, "announced-machines", look_name, phone)
    door.goto("/sign-in")
    assert door.locator(".said-warning").count() == 1
    assert problems == []
