"""Debian's Chromium, one garage per test module, signed-in pages in any language, width and theme."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from garage.services import accounts
from garage.services.context import Caller
from tests.browser.site import PASSWORD, Site, serving
from web import catalogue

CHROMIUM = os.environ.get("GARAGE_TEST_CHROMIUM", "/usr/bin/chromium")
FLAGS = [
    f"--{flag}"
    for flag in ("no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
                 "disable-component-update", "disable-sync", "hide-scrollbars")
]  # fmt: skip
SHOTS = Path(__file__).parents[2] / "test-output" / "screenshots"
WIDE, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "/browser/" in str(item.path):
            item.add_marker("browser")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    expect.set_options(timeout=15_000)  # a busy server; nothing waits longer than it must
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    catalogue.compile_all()
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    with pytest.MonkeyPatch.context() as patch, serving(tmp_path_factory.mktemp("garage")) as served:
        patch.setattr(accounts, "_HASHER", cheap)
        yield served


@pytest.fixture
def alice(site: Site, request: pytest.FixtureRequest) -> Caller:
    """A member of this test's own: names are never shared between tests."""
    number = sum(ord(c) * 31**i for i, c in enumerate(request.node.name)) % 10**6
    return site.user(f"u{number}")


@dataclass
class Tab:
    """A page in a context of its own, and what its console said."""

    page: Page
    context: BrowserContext
    complaints: list[str] = field(default_factory=list)


Opener = Callable[..., Tab]


@pytest.fixture
def open_tab(chromium: Browser, site: Site) -> Iterator[Opener]:
    """Open a page: `who` signs in first. At the end no page may have complained (CSP, errors of scripts)."""
    tabs: list[Tab] = []

    def open_one(who: Caller | None = None, path: str = "/machines", *, language: str = "en-GB", theme: str = "light",
                 phone: bool = False, scripts: bool = True) -> Tab:  # fmt: skip
        context = chromium.new_context(
            locale=language, color_scheme=theme, viewport=PHONE if phone else WIDE, has_touch=phone, timezone_id="Asia/Tokyo",
            java_script_enabled=scripts, reduced_motion="reduce", permissions=["clipboard-read", "clipboard-write"], base_url=site.url,
        )  # fmt: skip
        context.set_default_timeout(8000)
        tab = Tab(context.new_page(), context)
        tabs.append(tab)
        tab.page.on(
            "console", lambda message: _listen(tab, message.type, f"{message.text} {message.location.get('url', '')}")
        )
        tab.page.on("pageerror", lambda error: tab.complaints.append(str(error)))
        if who:
            sign_in(tab.page, who.name, PASSWORD)
        tab.page.goto(path)
        return tab

    yield open_one
    for tab in tabs:
        tab.context.close()
    complaints = [text for tab in tabs for text in tab.complaints]
    assert complaints == []


def _listen(tab: Tab, kind: str, text: str) -> None:
    if kind in ("error", "warning") and not re.search(r"status of 4|Status: 4|4\d\d", text):
        tab.complaints.append(text)


def sign_in(page: Page, name: str, password: str) -> None:
    page.goto("/sign-in")
    page.fill("[name=name]", name)
    page.fill("[name=password]", password)
    page.press("[name=password]", "Enter")
    page.wait_for_url("**/machines")


def shoot(page: Page, name: str, *, full: bool = True) -> None:
    """Keep a screenshot under test-output/screenshots/."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.wait_for_timeout(60)
    page.screenshot(path=SHOTS / f"{name}.png", full_page=full, caret="initial")
