"""How it looks when a garage tells people something: the announcement on top of every page, the inbox, the ways out."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect
from sqlalchemy import select

from garage.db.news_models import Channel
from garage.errors import GarageError
from garage.services import accounts, announcements, channels, news, projects
from garage.services.announcements import NewAnnouncement
from garage.services.channels import NewChannel
from garage.services.context import Caller
from garage.shell.disk_files import disk_is_full
from tests.browser.conftest import Opener
from tests.browser.site import PASSWORD, Site
from tests.browser.test_screens import checked

LOOKS = [("ja-JP", "light", False), ("en-GB", "dark", True)]
SAID = NewAnnouncement(
    "Rack 2 moves on Saturday from 10:00 to 12:00.\nMachines there pause for some minutes.",
    "土曜日の10:00から12:00にラック2を移します。\nそこにある機械は数分止まります。",
)

FAILURE = GarageError("network_error", "{host} answered {status}", hint="check the address, then send a test",
                      host="robots.example.org", status=404)  # fmt: skip
SOME = (
    ("machine.ready", {"machine": "arm-test.alice"}),
    ("machine.failed", {"machine": "sim-03.robot-arm", "error": disk_is_full().as_dict()}),
    ("lease.soon", {"machine": "lidar-log.alice", "until": 1_800_000_000.0}),
    ("lease.ended", {"machine": "old-one.alice", "until": 1_800_000_000.0}),
    ("machine.moving", {"machine": "arm-test.alice", "node": "lab2", "way": "live"}),
    ("project.added", {"project": "robot-arm", "by": "bob"}),
    ("image.done", {"image": "ubuntu-24.04"}),
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


def _fill(site: Site, who: Caller) -> None:
    """An inbox with some of everything, and ways out that work, fail and wait."""
    with site.ctx.db.write() as session:
        for kind, detail in SOME:
            news.of_person(session, site.ctx, kind, who.user_id, **detail)
    for name, url in (("team chat", "https://hooks.example.org/T1"), ("robot", "https://robots.example.org/garage")):
        channels.add(site.ctx, who, NewChannel(kind="slack", name=name, url=url))
    with site.ctx.db.write() as session:
        first, second = session.scalars(select(Channel).where(Channel.user_id == who.user_id).order_by(Channel.id))
        first.sent_at = first.tried_at = time.time() - 300
        second.error, second.failures, second.tried_at = FAILURE.as_dict(), 3, time.time() - 40


@pytest.mark.parametrize(("language", "theme", "phone"), LOOKS)
def test_an_inbox_and_its_ways_out(
    language: str, theme: str, phone: bool, site: Site, alice: Caller, open_tab: Opener
) -> None:
    look_name, problems = f"{language[:2]}-{theme}-{'phone' if phone else 'wide'}", list[str]()
    looks = {"language": language, "theme": theme, "phone": phone}
    page = open_tab(alice, "/news", **looks).page
    problems += checked(page, "news-empty", look_name, phone)
    _fill(site, alice)
    page.goto("/news")
    assert page.locator(".bell-count").inner_text().endswith(str(len(SOME)))
    problems += checked(page, "news", look_name, phone)
    page.locator(".inbox form button").first.click()
    expect(page.locator(".inbox .fresh")).to_have_count(len(SOME) - 1)
    page.goto("/news/ways")
    page.locator(".way details > summary").first.click()
    problems += checked(page, "news-ways", look_name, phone)
    projects.create(site.ctx, alice, f"arms-{theme}")
    page.goto(f"/projects/arms-{theme}/ways")
    page.fill("[name=name]", "bot")
    page.fill("[name=url]", "https://bot.example.org/garage")
    page.select_option("[name=kind]", "json")
    page.locator("main form.stack button.primary").last.click()
    page.wait_for_selector(".copyable-big")
    problems += checked(page, "project-ways", look_name, phone)
    assert problems == []
