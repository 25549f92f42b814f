"""Sites that are paused, or near the monthly volume of a line, as the overlay's pages show them."""

from __future__ import annotations

import re

import pytest

from garage.services import nodes
from garage.services.context import Context
from netd import wire
from netd.core import volume
from tests.conftest import Clock
from tests.inproc.overlay_nodes import FakeNode
from tests.inproc.test_site_pages import Browser, app, page, three

__all__ = ["app", "page", "three"]
GIB = 2**30
OTHER = "the clock is off"


def used(node: FakeNode, percent: int, **more: bool) -> None:
    told = volume.told("flets", percent * 5 * GIB, 500 * GIB, node.ctx.clock())
    node.report(problems=(*filter(None, (told,)), OTHER), **more)


LEVELS = [(10, ""), (85, "monthly volume nearly used"), (97, "spared: others go other ways"),
          (100, "stopped: its monthly volume is used up")]  # fmt: skip


@pytest.mark.parametrize(("percent", "told"), LEVELS)
def test_a_line_near_its_volume_is_seen_on_every_page(
    percent: int, told: str, page: Browser, three: list[FakeNode]
) -> None:
    used(three[0], percent)
    place = re.search(r'aria-label="(nagoya: [^"]*)"', page.get("/sites").text)
    assert place
    rows = page.get("/sites").text.partition('id="overlay-list"')[2]
    site = page.get("/sites/nagoya").text
    if told:
        assert told in place[1]
        assert told in rows
        assert told in site
        assert f'aria-label="Line flets this month: {percent} %"' in site
    else:
        assert "monthly volume" not in place[1] + site
    assert OTHER in site
    assert "GiB are used in" not in site, "it is drawn, not quoted"
    assert ("volume used up" in page.get("/sites").text) == (percent == 100)


def test_what_a_silent_site_last_said_of_its_volume_is_not_shown_as_now(
    page: Browser, three: list[FakeNode], clock: Clock
) -> None:
    used(three[0], 100)
    clock.forward(200)
    text = page.get("/sites").text
    assert "nagoya: does not report" in text
    assert "monthly volume" not in text.partition('id="invitations"')[0]


def test_a_paused_site_says_how_it_goes_on(page: Browser, three: list[FakeNode]) -> None:
    used(three[0], 10, paused=True)
    text = page.get("/sites").text
    assert 'aria-label="nagoya: paused' in text
    assert '<text class="spot-blame spot-note">paused</text>' in text
    assert "until “netd resume” is typed there" in page.get("/sites/nagoya").text
    assert "netd resume" not in page.get("/sites/osaka").text


def test_the_addresses_to_take_and_the_commands_are_on_the_list(page: Browser, ctx: Context) -> None:
    assert "garage site renumber" not in page.get("/sites").text
    prefixes = {"ipv4": "10.99.16.0/20", "ipv6": "fd99:1:2::/48"}
    said = wire.Report(node=ctx.config.node, applied_version=0, site="naha", domain="garage.internal", **prefixes)
    nodes.report(ctx, ctx.config.node, said)
    text = page.get("/sites").text
    for word in (ctx.config.site_ipv4, *prefixes.values(), 'data-copy="garage site renumber --plan"'):
        assert word in text, word
