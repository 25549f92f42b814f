"""Every page in both languages, wide and phone, light and dark: looked at by axe (WCAG 2.2 AA) and kept as screenshots."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page, expect

from garage.db.image_models import ImageTask
from garage.errors import GarageError
from garage.services import accounts, api_tokens, image_tasks, projects, roles, service_accounts
from garage.services.context import Caller
from garage.services.image_tasks import NewImage
from tests.browser.conftest import SHOTS, Opener, shoot
from tests.browser.site import PASSWORD, Site, bring_images, bring_volumes, populate

IMAGES = SHOTS.parents[1] / "docs" / "images"
LOOKS = [("en-GB", "light", False), ("ja-JP", "dark", False), ("ja-JP", "light", True), ("en-GB", "dark", True)]
PAGES = {"machines": "/machines", "machine-ready": "/machines/arm-test", "machine-failed": "/machines/bad-driver",
         "machine-change": "/machines/arm-test/change", "machine-off": "/machines/lidar-log",
         "volumes": "/volumes", "volume-attached": "/volumes/recordings", "volume-free": "/volumes/maps",
         "volume-snapshot": "/volumes/maps/snapshots/spring",
         "machine-booting": "/machines/slow-03", "keys": "/keys", "account": "/account", "projects": "/projects", "images": "/images",
         "project": "/projects/robot-arm", "nodes": "/nodes", "audit": "/audit",
         "project-delete": "/projects/robot-arm/delete", "member-remove": "/projects/robot-arm/members/bob/remove",
         "proof": "/account/proof", "factor": "/account/second-factor", "help": "/help", "not-found": "/nothing"}  # fmt: skip
RULES = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
}


@pytest.fixture(scope="module")
def people(site: Site) -> tuple[Caller, Caller]:
    """Alice with machines in many states; an admin."""
    alice = site.user("alice")
    ids = populate(site, alice)
    bring_volumes(site, alice, ids)
    site.user("bob")
    bring_images(site, alice)
    projects.create(site.ctx, alice, "robot-arm")
    projects.set_member(site.ctx, alice, "robot-arm", "bob", "member")
    api_tokens.create(site.ctx, alice, "ansible", days=90)
    service_accounts.create(site.ctx, alice, "robot-arm", "ci-robot")
    service_accounts.create_token(site.ctx, alice, "robot-arm", "ci-robot", "ci", days=90)
    accounts.create_user(site.ctx, site.admin, "carol")
    roles.grant(site.ctx, site.admin, "bob", "auditor")
    roles.grant(site.ctx, site.admin, "bob", "operator")
    token = accounts.reset_link(site.ctx, site.admin, "admin")
    return alice, accounts.accept_invitation(site.ctx, token, PASSWORD, "192.0.2.1")[0]


def look(page: Page, where: str) -> list[str]:
    """What axe finds wrong with the page as it is."""
    page.evaluate(AXE_SCRIPT)
    found = page.evaluate(f"axe.run(document, {json.dumps(RULES)})")
    return [f"{where}: {v['id']} {[node['html'][:120] for node in v['nodes']][:3]}" for v in found["violations"]]


def too_wide(page: Page, where: str) -> list[str]:
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return [f"{where}: {wide}px too wide"] if wide > 0 else []


def hidden_entries(page: Page, where: str) -> list[str]:
    """Entries of the menu that lie beyond its edge: on a wide page nobody looks for them there."""
    beyond = page.evaluate("(e => e ? e.scrollWidth - e.clientWidth : 0)(document.querySelector('nav.menu'))")
    return [f"{where}: {beyond}px of the menu are out of sight"] if beyond > 0 else []


def small_targets(page: Page, where: str) -> list[str]:
    """Buttons, links that stand alone, and fields below 44 px on a phone; a box counts with its label, which ticks it too."""
    small = page.evaluate(
        """() => [...document.querySelectorAll('button, select, summary, input:not([type=hidden]), nav a, a.button')]
        .filter((e) => e.checkVisibility() && !e.closest('.sr, dialog') && !e.classList.contains('link'))
        .map((e) => [e, (e.type === 'checkbox' && e.closest('label')) || e])
        .map(([e, target]) => [e.outerHTML.slice(0, 90), Math.round(target.getBoundingClientRect().height)]).filter(([, h]) => h < 44)"""
    )
    return [f"{where}: {html} is {height}px high" for html, height in small]


@pytest.mark.parametrize(("language", "theme", "phone"), LOOKS)
def test_every_page(
    language: str, theme: str, phone: bool, site: Site, people: tuple[Caller, Caller], open_tab: Opener
) -> None:
    alice, admin = people
    look_name = f"{language[:2]}-{theme}-{'phone' if phone else 'wide'}"
    problems: list[str] = []
    looks = {"language": language, "theme": theme, "phone": phone}
    door = open_tab(None, "/sign-in", **looks).page
    page = open_tab(alice, **looks).page
    above = open_tab(admin, **looks).page
    for name, path in PAGES.items():
        page.goto(path)
        problems += checked(page, name, look_name, phone)
    for name, path in (
        ("users", "/users"),
        ("nodes-admin", "/nodes"),
        ("audit-verified", "/audit?verify=1"),
        ("offboard", "/users/bob/offboard"),
        ("disable", "/users/carol/disable"),
        ("images-admin", "/images"),
    ):
        above.goto(path)
        problems += checked(above, name, look_name, phone)
    problems += checked(door, "sign-in", look_name, phone)
    assert problems == []


def checked(page: Page, name: str, look_name: str, phone: bool) -> list[str]:
    shoot(page, f"{name}-{look_name}")
    found = look(page, name) + too_wide(page, name)
    return found + (small_targets(page, name) if phone else hidden_entries(page, name))


def test_a_long_name_and_a_long_reason_fit_a_phone(site: Site, open_tab: Opener) -> None:
    who = site.user("a-name-of-thirty-two-characters1")
    brought = image_tasks.bring(site.ctx, who, NewImage("other", "ab" * 32, url="https://192.0.2.1/disk.qcow2"))
    wrong = GarageError("invalid_field", "the file's sha256 is {found}", found="cd" * 32)
    with site.ctx.db.write() as session:
        row = session.get_one(ImageTask, brought.id)
        row.state, row.error = "failed", wrong.as_dict()
    page = open_tab(who, "/images", phone=True).page
    expect(page.get_by_text("cdcdcd")).to_be_visible()
    assert too_wide(page, "images") == []
    tops = "[...document.querySelectorAll('.mark, .seek, .bell, .drop')].map((e) => e.getBoundingClientRect().bottom <= 56)"
    assert page.evaluate(tops) == [True] * 4


def test_pictures_for_the_readme(site: Site, people: tuple[Caller, Caller], open_tab: Opener) -> None:
    """With GARAGE_PICTURES=1 they are renewed in docs/images/, too."""
    for language in ("en-GB", "ja-JP"):
        page = open_tab(people[0], language=language).page
        for name, path in (("machines", "/machines"), ("project", "/projects/alice")):
            page.goto(path)
            shoot(page, f"readme-{name}-{language[:2]}", full=False)
            if os.environ.get("GARAGE_PICTURES"):
                IMAGES.mkdir(parents=True, exist_ok=True)
                shutil.copy(SHOTS / f"readme-{name}-{language[:2]}.png", IMAGES / f"{name}-{language[:2]}.png")
