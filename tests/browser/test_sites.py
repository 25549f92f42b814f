"""Joining sites in a real browser: the invitation's line, the site that appears by itself, its figures, a measurement."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from garage.services import accounts, registry, throughput
from garage.services.context import Caller
from netd import wire
from netd.core.token import parse_token
from tests.browser.conftest import Opener
from tests.browser.overlay import Overlay
from tests.browser.site import PASSWORD, Site
from tests.inproc.overlay_nodes import FakeNode, request


@pytest.fixture(scope="module")
def admin(site: Site) -> Caller:
    token = accounts.reset_link(site.ctx, site.admin, "admin")
    return accounts.accept_invitation(site.ctx, token, PASSWORD, "192.0.2.1")[0]


@pytest.fixture(scope="module")
def overlay(site: Site, admin: Caller) -> Overlay:
    return Overlay(site.ctx, admin)


def spot(page: Page, name: str) -> Locator:
    return page.locator(f"#overlay-map [data-site={name}]")


def test_from_an_invitation_to_figures_without_a_reload(
    site: Site, admin: Caller, overlay: Overlay, open_tab: Opener
) -> None:
    page = open_tab(admin, "/sites").page
    expect(page.get_by_text("This garage is a site of one.")).to_be_visible()
    page.get_by_label("What this site is called").fill("tsukuba")
    page.get_by_label("Name of the other site").fill("nagoya")
    page.get_by_role("button", name="Invite").click()
    line = _copied(page)
    expect(spot(page, "nagoya")).to_have_attribute("aria-label", re.compile("invited"))
    page.evaluate("window.untouched = true")
    _own_site_joins(site, overlay)
    wanted = request(site.ctx, parse_token(line.split()[1]).secret, 40)
    overlay.nodes["nagoya"] = FakeNode(site.ctx, "nagoya", wanted, registry.join(site.ctx, wanted))
    expect(page.get_by_text("nagoya has joined")).to_be_visible()
    overlay.report()
    overlay.remember(hours=1)
    expect(spot(page, "nagoya")).to_have_attribute("aria-label", re.compile("connected"))
    tie = page.get_by_role("link", name=re.compile(r"nagoya – tsukuba: up, RTT [0-9.]+ ms, 0 % lost"))
    expect(tie).to_be_attached()
    assert page.evaluate("window.untouched"), "the page was never loaded again"
    _point_between(page, "nagoya", "tsukuba")
    expect(page.locator(".tip")).to_contain_text("nagoya – tsukuba")
    page.get_by_role("link", name="nagoya has joined").click()
    expect(page.locator("h1")).to_have_text("nagoya")
    _figures(page)


def _point_between(page: Page, one: str, other: str) -> None:
    """At the line of two sites, which has no height when they stand side by side."""
    places = [spot(page, name).locator(".spot-sign").bounding_box() for name in (one, other)]
    middle = [(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2) for place in places if place]
    page.mouse.move((middle[0][0] + middle[1][0]) / 2, (middle[0][1] + middle[1][1]) / 2)


def _copied(page: Page) -> str:
    """The line as the button copies it, which is the line as it is shown."""
    page.get_by_role("button", name="Copy the line").click()
    text = str(page.evaluate("navigator.clipboard.readText()"))
    assert re.fullmatch(r"echo gj1\.\S+ \| netd join http://127\.0\.0\.1:\d+", text)
    expect(page.locator(".handover code").first).to_have_text(text)
    return text


def _own_site_joins(site: Site, overlay: Overlay) -> None:
    token = registry.own_invitation(site.ctx)
    assert token is not None
    config = site.ctx.config
    overlay.take("tsukuba", 31, parse_token(token).secret, ipv4=config.site_ipv4, ipv6=config.site_ipv6)


def _figures(page: Page) -> None:
    """A site's page, then a pair's with its chart, then the grid: all show the same measurements."""
    links = page.locator("section", has=page.get_by_role("heading", name="Links"))
    expect(links.locator("svg.spark path")).to_have_attribute("d", re.compile("^M"))
    links.get_by_role("link", name="tsukuba").click()
    expect(page.locator(".chart-rtt").first).to_have_attribute("d", re.compile("^M"))
    expect(page.locator(".figures").first).to_contain_text(re.compile(r"usual RTT\s*[0-9.]+ ms"))
    page.locator(".chart-picture").first.hover()
    page.get_by_role("link", name="Grid").click()
    expect(page.get_by_role("link", name=re.compile("^nagoya → tsukuba: up"))).to_be_visible()


def test_throughput_is_measured_by_a_click_and_comes_by_itself(
    site: Site, admin: Caller, overlay: Overlay, open_tab: Opener
) -> None:
    if not overlay.nodes:
        overlay.found()
        overlay.join("nagoya", 40)
        overlay.report()
    page = open_tab(admin, "/sites/nagoya/to/tsukuba").page
    page.get_by_role("button", name="Measure now").click()
    expect(page.locator("#throughput")).to_contain_text("being measured")
    (row,) = throughput.listing(site.ctx, admin, "nagoya", "tsukuba")
    overlay.report()
    overlay.outcome("nagoya", wire.Outcome(id=row.id, sent_bps=840e6, sent_retransmits=3, received_bps=312e6))
    expect(page.locator("#throughput")).to_contain_text("840 Mbit/s")
    expect(page.locator("#throughput")).to_contain_text("312 Mbit/s")


NEWS_WHILE_LOOKING = """async () => {
  const real = htmx.ajax, tell = () => document.dispatchEvent(new Event("garage:site"));
  let calls = 0;
  htmx.ajax = (...all) => { if (++calls === 1) tell(); return real.apply(htmx, all); };
  tell();
  for (let wait = 0; calls < 2 && wait < 100; wait++) await new Promise((then) => setTimeout(then, 100));
  return calls;
}"""


def test_what_happens_while_the_page_is_fetched_is_fetched_too(admin: Caller, open_tab: Opener) -> None:
    page = open_tab(admin, "/sites").page
    page.wait_for_timeout(1500)  # the stream has opened, and what that fetches has come
    assert page.evaluate(NEWS_WHILE_LOOKING) >= 2
