"""Answers that come in another order than they were asked for leave nothing old on the page."""

from __future__ import annotations

from playwright.sync_api import Page, Route, expect

from garage.services import machines
from garage.services.context import Caller
from tests.browser.conftest import Opener
from tests.browser.site import Site

LOOK_AGAIN = "document.dispatchEvent(new Event('visibilitychange'))"
LISTENING = "new Promise((then) => setTimeout(then, 1500))"  # the stream has opened, and what that fetches has come


def held(page: Page) -> Route:
    """Ask for the list as a whole and keep its answer back; the page's smaller questions go their way."""
    kept: list[Route] = []

    def keep(route: Route) -> None:
        if route.request.headers.get("hx-source") == "body":
            kept.append(route)
        else:
            route.continue_()

    page.route("**/machines", keep)
    page.evaluate(LOOK_AGAIN)
    while not kept:
        page.wait_for_timeout(20)
    return kept[0]


def test_a_list_older_than_the_last_news_leaves_no_old_count(site: Site, alice: Caller, open_tab: Opener) -> None:
    made = site.make(alice, "late")
    site.wait(made, "ready")
    page = open_tab(alice).page
    page.evaluate(LISTENING)
    kept = held(page)
    old = kept.fetch()
    machines.delete(site.ctx, alice, made)
    expect(page.get_by_text("late is deleted.")).to_be_visible()
    expect(page.locator("#quota .bar-figures").first).to_have_text("0 / 5")
    with page.expect_request(lambda request: request.headers.get("hx-source") == "aside#quota"):
        kept.fulfill(response=old)
    expect(page.locator("#quota .bar-figures").first).to_have_text("0 / 5")
    expect(page.locator("tr.row .state-word")).to_have_count(0)
