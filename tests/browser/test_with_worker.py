"""One click through everything of ours that has no root: page, service, worker, fake hypervisor, events, page."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import expect

from garage.db.models import Node
from garage.services import machines, nodes
from garage.services.context import Caller
from garage.worker.main import run
from netd import wire
from tests.browser.conftest import Opener
from tests.browser.site import Site


@pytest.fixture
def worker(site: Site) -> Iterator[None]:
    """The real worker on the fake hypervisor instead of the hand; netd's part is to agree."""
    site.hand.stopped.set()
    site.hand.join(5)
    stop = threading.Event()
    ctx = replace(site.ctx, config=replace(site.ctx.config, pool_ram_share=0.0))
    threads = [
        threading.Thread(target=run, args=(ctx, ctx.config, stop), daemon=True),
        threading.Thread(target=_agree, args=(site, stop), daemon=True),
    ]
    for thread in threads:
        thread.start()
    yield
    stop.set()
    for thread in threads:
        thread.join(20)


def _agree(site: Site, stop: threading.Event) -> None:
    """Report every version of the node's spec as applied."""
    while not stop.wait(0.1):
        with site.ctx.db.read() as session:
            version = session.get_one(Node, site.ctx.config.node).spec_version
        nodes.report(site.ctx, site.ctx.config.node, wire.Report(node=site.ctx.config.node, applied_version=version))


def test_one_click_through_the_real_worker(site: Site, worker: None, alice: Caller, open_tab: Opener) -> None:
    page = open_tab(alice).page
    page.fill("#new-name", "real")
    page.locator("#request .primary").click()
    expect(page.locator("a.row-name")).to_have_text("real")
    state = page.locator("tr.row .state-word")
    site.wait(machines.get(site.ctx, alice, "real").id, "ready", seconds=30)
    expect(state).to_have_text("ready")
    page.locator("a.row-name").click()
    expect(page.locator(".connect code")).to_have_text("garage ssh real")
    page.locator(".machine-head").get_by_role("link", name="Delete").click()
    page.get_by_role("button", name="Delete").click()
    expect(page.locator("[data-machine]")).to_have_count(0, timeout=20_000)
    expect(page.locator("#quota .bar-figures").first).to_have_text("0 / 5")
