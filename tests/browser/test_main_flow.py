"""The main job in a real browser: sign in, one click, watch it become ready, copy the ssh line; with and without JavaScript."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from garage.db.models import Node
from garage.services import accounts, machines
from garage.services.context import Caller
from tests.browser.conftest import Opener, shoot
from tests.browser.site import PASSWORD, Site


def row(page: Page, name: str):  # type: ignore[no-untyped-def]
    return page.locator("tr.row", has=page.locator(f"a.row-name:text-is('{name}')"))


def test_one_click_and_it_becomes_ready_before_ones_eyes(site: Site, alice: Caller, open_tab: Opener) -> None:
    page = open_tab(alice).page
    expect(page.get_by_text("No machine yet.")).to_be_visible()
    page.fill("#new-name", "arm-test")
    page.get_by_role("button", name="Start").click()
    new = row(page, "arm-test")
    expect(new.locator(".state")).to_contain_text(re.compile("preparing|booting"))
    expect(page.get_by_text("No machine yet.")).to_be_hidden()
    expect(new.locator(".state-word")).to_have_text("ready")
    assert page.url.endswith("/machines"), "the list was never left"
    new.get_by_role("button", name="Copy the ssh line").click()
    assert page.evaluate("navigator.clipboard.readText()") == "garage ssh arm-test"
    expect(page.locator("#quota .bar-figures").first).to_have_text("1 / 5")


def test_a_name_that_is_taken_is_told_beside_the_field_and_kept(site: Site, alice: Caller, open_tab: Opener) -> None:
    site.make(alice, "arm-test")
    page = open_tab(alice).page
    page.fill("#new-name", "arm-test")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("alert")).to_contain_text("take another name, or delete that one first", ignore_case=True)
    assert page.input_value("#new-name") == "arm-test"
    assert page.get_attribute("#new-name", "aria-invalid") == "true"
    shoot(page, "request-refused")
    page.fill("#new-name", "arm-test-2")
    page.get_by_role("button", name="Start").click()
    expect(row(page, "arm-test-2")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_without_javascript_everything_still_works(site: Site, alice: Caller, open_tab: Opener) -> None:
    page = open_tab(alice, scripts=False).page
    page.fill("#new-name", "plain")
    page.locator("#request").get_by_role("button", name="Start").click()
    page.wait_for_url(re.compile(r"/machines/\w+$"))
    made = machines.get(site.ctx, alice, "plain").id
    site.wait(made, "ready")
    page.reload()
    expect(page.locator("h1")).to_have_text("plain")
    expect(page.locator(".connect code")).to_have_text("garage ssh plain")
    page.get_by_role("button", name="Stop").click()
    site.wait(made, "stopped")
    page.reload()
    expect(page.locator(".machine-head .state")).to_contain_text("stopped")
    page.locator(".machine-head").get_by_role("link", name="Delete").click()
    page.get_by_role("button", name="Delete").click()
    page.wait_for_url("**/machines")
    site.wait(made, "gone")
    page.locator("summary", has_text=alice.name).click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")


def test_actions_in_place_and_deletion_asks_first(site: Site, alice: Caller, open_tab: Opener) -> None:
    made = site.make(alice, "worker")
    site.wait(made, "ready")
    page = open_tab(alice).page
    worker = row(page, "worker")
    worker.get_by_label("Actions for worker").click()
    shoot(page, "row-menu")
    worker.get_by_role("button", name="Stop").click()
    expect(worker.locator(".state-word")).to_have_text("stopped")
    worker.get_by_role("button", name="Start").first.click()
    expect(worker.locator(".state-word")).to_have_text("ready")
    worker.get_by_label("Actions for worker").click()
    worker.get_by_role("link", name="Delete").click()
    shoot(page, "delete-asks")
    page.get_by_role("link", name="Keep").click()
    expect(row(page, "worker")).to_be_visible()


def test_a_failed_boot_says_why_and_shows_the_console(site: Site, alice: Caller, open_tab: Opener) -> None:
    made = site.make(alice, "bad-driver")
    site.wait(made, "failed")
    page = open_tab(alice).page
    row(page, "bad-driver").get_by_role("link", name="See why").click()
    expect(page.get_by_role("alert")).to_contain_text("did not answer")
    expect(page.locator(".console pre")).to_contain_text("Failed to start ssh.service")


def test_the_machine_page_is_live_too(site: Site, alice: Caller, open_tab: Opener) -> None:
    made = site.make(alice, "slow-start")
    page = open_tab(alice, f"/machines/{made}").page
    expect(page.locator(".step-now")).to_contain_text("waiting for SSH")
    before = page.locator(".step-now .step-time").inner_text()
    expect(page.locator(".step-now .step-time")).not_to_have_text(before)
    expect(page.locator(".console pre")).to_contain_text("Linux version")
    site.set(made, name="start-now")
    expect(page.locator(".connect code")).to_have_text("garage ssh start-now")
    expect(page.get_by_role("heading", name=re.compile("Ready after"))).to_be_visible()


def test_what_somebody_else_does_appears(site: Site, alice: Caller, open_tab: Opener) -> None:
    made = site.make(alice, "shared")
    site.wait(made, "ready")
    page = open_tab(alice).page
    machines.stop(site.ctx, alice, made)
    expect(row(page, "shared").locator(".state-word")).to_have_text("stopped")
    machines.delete(site.ctx, alice, made)
    expect(page.get_by_text("shared is deleted.")).to_be_visible()


def test_an_unreachable_node_is_never_called_stopped(site: Site, alice: Caller, open_tab: Opener) -> None:
    made = site.make(alice, "islander")
    site.wait(made, "ready")
    try:
        with site.ctx.db.write() as session:
            session.get_one(Node, site.ctx.config.node).hypervisor_error = "libvirt: connection refused"
        page = open_tab(alice, f"/machines/{made}").page
        expect(page.get_by_role("status").first).to_contain_text("does not answer")
        shoot(page, "machine-unreachable")
        page.goto("/machines")
        expect(row(page, "islander").locator(".glyph-unreachable")).to_be_visible()
        shoot(page, "list-unreachable")
    finally:
        with site.ctx.db.write() as session:
            session.get_one(Node, site.ctx.config.node).hypervisor_error = ""


def test_keyboard(site: Site, alice: Caller, open_tab: Opener) -> None:
    for name in ("one", "two"):
        site.wait(site.make(alice, name), "ready")
    page = open_tab(alice).page
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.locator("body").press("n")
    expect(page.locator("#new-name")).to_be_focused()
    page.keyboard.type("gm?/")
    assert page.input_value("#new-name") == "gm?/", "keys are letters while one types"
    page.locator("#new-name").blur()
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()
    page.keyboard.type("two")
    expect(page).to_have_url(re.compile("search=two"))
    expect(page.locator("tr.row")).to_have_count(1)
    page.locator("#search").blur()
    page.keyboard.press("j")
    expect(page.locator("a.row-name")).to_be_focused()
    page.keyboard.press("c")
    page.wait_for_function("() => navigator.clipboard.readText().then((text) => text === 'garage ssh two')")
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    shoot(page, "help-dialog", full=False)
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("k")
    page.wait_for_url("**/keys")


def test_several_machines_at_once(site: Site, alice: Caller, open_tab: Opener) -> None:
    ids = [site.make(alice, name) for name in ("one", "two")]
    for made in ids:
        site.wait(made, "ready")
    page = open_tab(alice).page
    for name in ("one", "two"):
        page.get_by_label(f"Choose {name}").check()
    expect(page.locator("[data-many-count]")).to_have_text("2")
    shoot(page, "several")
    page.locator("#many").get_by_role("button", name="Stop").click()
    for made in ids:
        site.wait(made, "stopped")
    for name in ("one", "two"):
        expect(row(page, name)).to_contain_text("stopped")


def test_a_one_time_link_and_the_first_key(site: Site, open_tab: Opener) -> None:
    _, token = accounts.create_user(site.ctx, site.admin, "newcomer")
    page = open_tab(None, f"/welcome/{token}").page
    page.fill("[name=password]", PASSWORD)
    page.fill("[name=again]", PASSWORD)
    page.get_by_role("button", name="Set password and sign in").click()
    page.wait_for_url("**/machines")
    expect(page.get_by_text("You have no SSH key here yet.")).to_be_visible()
    shoot(page, "first-visit")
    page.get_by_role("link", name="add a key").click()
    page.fill("[name=public_key]", "-----BEGIN OPENSSH PRIVATE KEY-----")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("alert")).to_contain_text("private key")
    shoot(page, "key-refused")


def test_language_and_theme_switch_at_once(site: Site, alice: Caller, open_tab: Opener) -> None:
    page = open_tab(alice).page
    page.locator(".foot").get_by_role("button", name="日本語").click()
    expect(page.locator("html")).to_have_attribute("lang", "ja")
    expect(page.get_by_role("button", name="起動")).to_be_visible()
    page.locator(".foot").get_by_role("button", name="暗い").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(18, 21, 19)"


def test_dates_are_in_the_browsers_time_zone(site: Site, alice: Caller, open_tab: Opener) -> None:
    made = site.make(alice, "clock")
    page = open_tab(alice, f"/machines/{made}").page
    expect(page.locator(".machine-side time").first).to_have_text(re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d JST$"))


def test_nothing_jumps_while_a_page_comes(site: Site, alice: Caller, open_tab: Opener) -> None:
    site.wait(site.make(alice, "steady"), "ready")
    tab = open_tab(alice)
    tab.page.add_init_script(
        "new PerformanceObserver((list) => list.getEntries().forEach((e) => { window.jumped = (window.jumped || 0) + e.value; }))"
        ".observe({ type: 'layout-shift', buffered: true })"
    )
    tab.page.goto("/machines", wait_until="load")
    tab.page.wait_for_timeout(600)
    assert tab.page.evaluate("window.jumped || 0") < 0.01
