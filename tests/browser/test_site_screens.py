"""The overlay's pages with nine sites of Japan, in both languages, wide and phone, light and dark: axe, screenshots, README's picture."""

from __future__ import annotations

import os
import shutil

import pytest

from garage.services import accounts, invitations, sites
from garage.services.context import Caller
from tests.browser.conftest import SHOTS, Opener, shoot
from tests.browser.overlay import TOWNS, Overlay
from tests.browser.site import PASSWORD, Site
from tests.browser.test_screens import IMAGES, LOOKS, checked

MEMBERS = ("nagoya", "osaka", "sapporo", "fukuoka", "sendai", "hiroshima", "naha", "niigata")
PAGES = {"sites": "/sites", "sites-grid": "/sites?view=grid", "site": "/sites/osaka", "site-liar": "/sites/niigata",
         "pair": "/sites/osaka/to/tsukuba", "site-remove": "/sites/naha/remove"}  # fmt: skip


@pytest.fixture(scope="module")
def admin(site: Site) -> Caller:
    token = accounts.reset_link(site.ctx, site.admin, "admin")
    return accounts.accept_invitation(site.ctx, token, PASSWORD, "192.0.2.1")[0]


@pytest.fixture(scope="module")
def overlay(site: Site, admin: Caller) -> Overlay:
    """A day of measurements; one link loses packets."""
    made = Overlay(site.ctx, admin)
    made.found()
    for number, name in enumerate(MEMBERS, 40):
        made.join(name, number)
    for name in made.nodes:
        sites.place(site.ctx, admin, name, TOWNS[name])
    made.loss[frozenset(("osaka", "fukuoka"))] = 0.03
    made.report()
    made.remember()
    sites.configure(site.ctx, admin, measure_mbit=1000)
    for one, other, bits in (("osaka", "tsukuba", 860e6), ("nagoya", "osaka", 95e6), ("sendai", "tsukuba", 480e6)):
        made.measure(one, other, bits, bits * 0.7)
    return made


def test_pictures_for_the_readme(overlay: Overlay, admin: Caller, open_tab: Opener) -> None:
    """With GARAGE_PICTURES=1 they are renewed in docs/images/, too."""
    for language in ("en-GB", "ja-JP"):
        page = open_tab(admin, "/sites", language=language).page
        shoot(page, f"readme-sites-{language[:2]}", full=False)
        if os.environ.get("GARAGE_PICTURES"):
            shutil.copy(SHOTS / f"readme-sites-{language[:2]}.png", IMAGES / f"sites-{language[:2]}.png")


@pytest.fixture
def trouble(site: Site, overlay: Overlay, admin: Caller) -> Overlay:
    """A dead link, a site that lies, one that is paused, one that was only invited."""
    overlay.state[frozenset(("sapporo", "sendai"))] = "down"
    lie = "site niigata announces 10.41.0.0/24, a part of what belongs to osaka"
    overlay.said["osaka"] = {"alarms": (lie,)}
    overlay.said["nagoya"] = {"alarms": (lie,)}
    overlay.said["naha"] = {"paused": True, "problems": ("line eth1: its 500 GiB of this month are used up",)}
    overlay.report()
    if not any(item.site == "kumamoto" for item in invitations.listing(site.ctx, admin)):
        invitations.invite(site.ctx, admin, "kumamoto")
    return overlay


@pytest.mark.parametrize(("language", "theme", "phone"), LOOKS)
def test_every_page_of_the_overlay(
    language: str, theme: str, phone: bool, trouble: Overlay, admin: Caller, open_tab: Opener
) -> None:
    look_name = f"{language[:2]}-{theme}-{'phone' if phone else 'wide'}"
    page = open_tab(admin, language=language, theme=theme, phone=phone).page
    problems: list[str] = []
    for name, path in PAGES.items():
        page.goto(path)
        problems += checked(page, name, look_name, phone)
    assert problems == []
