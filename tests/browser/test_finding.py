"""A machine is found from any page by the keyboard alone, and changed on a page of its own."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from garage.services import describing
from garage.services.context import Caller
from tests.browser.conftest import Opener, shoot
from tests.browser.site import Site


@pytest.mark.parametrize("language", ["en-GB", "ja-JP"])
def test_found_from_another_page_by_the_keyboard_alone(
    language: str, site: Site, alice: Caller, open_tab: Opener
) -> None:
    made = {name: site.make(alice, name) for name in ("arm-7", "arm-8", "lidar")}
    describing.describe(site.ctx, alice, "arm-8", tags_=["course-2026", "robot"], notes="of room 3\nask Sato first")
    page = open_tab(alice, "/keys", language=language).page
    page.keyboard.press("Control+k")
    expect(page.locator("#seek-text")).to_be_focused()
    page.keyboard.type("arm")
    expect(page.locator("#found a")).to_have_count(2)
    shoot(page, f"find-{language[:2]}", full=False)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(made["arm-8"]))
    shoot(page, f"machine-tagged-{language[:2]}")
    page.goto("/machines")
    shoot(page, f"machines-tagged-{language[:2]}")
    page.goto(f"/machines/{made['arm-8']}/change")
    shoot(page, f"machine-change-{language[:2]}")
    page.fill("[name=tags]", "robot")
    page.click("form[action$=describe] button.primary")
    expect(page.locator("a.tag")).to_have_text(["robot"])


def test_slash_looks_where_there_is_a_list_and_else_finds(site: Site, alice: Caller, open_tab: Opener) -> None:
    site.make(alice, "arm-9")
    page = open_tab(alice, "/keys").page
    page.keyboard.press("/")
    expect(page.locator("#seek-text")).to_be_focused()
    page.keyboard.type("arm-9")
    expect(page.locator("#found a")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("arm-9")
    page.goto("/machines")
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()
