"""The overlay's pages over Flask's test client: the first invitation, map, list, grid, a site, a pair; bad and hostile input."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask

import web
from garage.api.app import make_flask
from garage.services import accounts, invitations, nodes, registry, sites
from garage.services.context import Caller, Context
from netd import wire
from netd.core.token import parse_token
from tests.conftest import Clock
from tests.inproc.overlay_nodes import FakeNode, member, request
from tests.inproc.test_pages import HOSTILE, Browser
from web import catalogue
from web.i18n import translate_error


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    catalogue.compile_all()


@pytest.fixture
def app(ctx: Context, admin: Caller) -> Flask:
    flask_app = make_flask(ctx, translate=translate_error)
    web.register(flask_app, ctx)
    return flask_app


def browser(app: Flask, ctx: Context, admin: Caller, who: Caller) -> Browser:
    token = accounts.reset_link(ctx, admin, who.name)
    return Browser(app, accounts.accept_invitation(ctx, token, f"password of {who.name}", "192.0.2.9")[1])


@pytest.fixture
def page(app: Flask, ctx: Context, admin: Caller) -> Browser:
    """The admin's."""
    return browser(app, ctx, admin, admin)


@pytest.fixture
def three(ctx: Context, admin: Caller) -> list[FakeNode]:
    """Two members that are linked and measured, and a third that has not reported."""
    nodes = [member(ctx, admin, name, number) for number, name in ((1, "nagoya"), (2, "osaka"), (3, "sendai"))]
    for node in nodes:
        node.poll()
    for node in nodes[:2]:
        say(node, rtt_ms=12.5, loss=0.0, jitter_ms=0.4)
    return nodes


def say(node: FakeNode, state: str = "up", alarms: tuple[str, ...] = (), **measured: Any) -> None:
    links = tuple(wire.LinkState(number=link.number, state=state, **measured) for link in node.spec.links)  # type: ignore[arg-type]
    node.report(links=links, alarms=alarms)


PAGES = ("/sites", "/sites?view=grid", "/sites/nagoya", "/sites/nagoya/remove", "/sites/nagoya/to/osaka?hours=6")


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_for_admins(
    path: str, app: Flask, ctx: Context, admin: Caller, alice: Caller, page: Browser, three: list[FakeNode]
) -> None:
    assert page.get(path).status_code == 200
    as_alice = browser(app, ctx, admin, alice)
    assert as_alice.get(path).status_code == 403
    assert 'href="/sites"' not in as_alice.get("/machines").text
    assert 'href="/sites"' in page.get("/machines").text
    assert Browser(app).get(path).location.startswith("/sign-in?next=/sites")


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("path", PAGES)
def test_pages_speak_one_language(path: str, language: str, page: Browser, three: list[FakeNode]) -> None:
    text = page.get(path, Accept_Language=language).text
    prose = re.sub(r'<form method="post" action="/preferences".*?</form>', "", text, flags=re.S)
    assert bool(re.search(r"[\u3040-\u30ff]", prose)) == (language == "ja")
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", text)


def test_a_site_of_one_is_told_what_to_do(page: Browser) -> None:
    text = page.get("/sites").text
    assert "This garage is a site of one." in text
    assert 'name="own_name"' in text
    assert '<svg class="map-picture' not in text


def test_a_garage_that_nobody_reaches_says_so_with_its_line(page: Browser) -> None:
    text = page.post("/sites", name="nagoya", own_name="tsukuba", hours="1", once="one").text
    assert "Nobody can join yet" in text
    assert "GARAGE_LISTEN=0.0.0.0:8443 make up" in text


def test_the_line_names_the_address_by_which_others_reach_this_garage(ctx: Context, admin: Caller) -> None:
    """Not the one by which the admin's browser does, here through a tunnel."""
    known = replace(ctx, config=replace(ctx.config, public_url="https://garage.example.org"))
    app = make_flask(known, translate=translate_error)
    web.register(app, known)
    page = browser(app, known, admin, admin)
    text = page.post("/sites", name="nagoya", own_name="tsukuba", hours="1", once="one").text
    assert re.search(r"<code[^>]*>echo gj1\.[\w.-]+ \| netd join https://garage\.example\.org</code>", text)
    assert "Nobody can join yet" not in text
    assert "https://garage.example.org/welcome/" in page.post("/users", name="carol").text


def test_the_first_invitation_ends_in_one_line(page: Browser, ctx: Context, admin: Caller) -> None:
    answer = page.post("/sites", name="nagoya", own_name="tsukuba", hours="1", once="one")
    assert answer.status_code == 201
    line = re.search(r"<code[^>]*>(echo (gj1\.[\w.-]+) \| netd join http://localhost)</code>", answer.text)
    assert line
    assert f'data-copy="{line[1]}"' in answer.text
    found = invitations.listing(ctx, admin)
    assert [(item.site, item.state, item.expires_at - item.created_at) for item in found] == [
        ("nagoya", "open", 3600.0)
    ]
    assert [site.name for site in sites.listing(ctx, admin)] == ["tsukuba"]
    again = page.get("/sites").text
    assert line[2] not in again
    assert 'name="own_name"' not in again
    assert 'data-site="nagoya"' in again, "an invited site is on the map already"
    waiting = page.get(f"/site-invitations/{found[0].id}").text
    assert "waiting for nagoya to join" in waiting
    wanted = request(ctx, parse_token(line[2]).secret, 1)
    FakeNode(ctx, "nagoya", wanted, registry.join(ctx, wanted))
    assert "nagoya has joined" in page.get(f"/site-invitations/{found[0].id}").text
    assert 'href="/sites/nagoya"' in page.get("/sites").text


def test_a_form_sent_twice_invites_once(page: Browser, ctx: Context, admin: Caller) -> None:
    fields = {"name": "nagoya", "own_name": "tsukuba", "hours": "24", "once": "same"}
    lines = [re.findall(r"echo gj1[^|<]+", page.post("/sites", **fields).text)[0] for _ in range(2)]
    assert lines[0] == lines[1]
    assert len(invitations.listing(ctx, admin)) == 1


BAD = [("name", "", "name"), ("name", "Nagoya", "name"), ("name", "home", "name"), ("name", "a" * 70, "name"), ("name", "a\0", "name"),
       ("own_name", "", "own_name"), ("own_name", "home", ""), ("hours", "0.001", ""), ("hours", "soon", ""), ("hours", "nan", ""),
       ("hours", "9999", ""), ("once", "k" * 300, "")]  # fmt: skip


@pytest.mark.parametrize(("field", "value", "marked"), BAD)
def test_a_bad_field_is_told_and_what_was_typed_is_kept(
    field: str, value: str, marked: str, page: Browser, ctx: Context, admin: Caller
) -> None:
    typed = {"name": "nagoya", "own_name": "keep-me", "hours": "168", "once": f"{field}{value[:9]}x", field: value}
    answer = page.post("/sites", **typed)
    assert 400 <= answer.status_code < 500, answer.text
    assert 'role="alert"' in answer.text
    kept = "nagoya" if field == "own_name" else "keep-me"
    assert f'value="{kept}"' in answer.text
    assert field == "hours" or '<option value="168" selected>' in answer.text
    if marked:
        assert re.search(rf'name="{marked}"[^>]*aria-invalid="true"', answer.text), answer.text
    assert invitations.listing(ctx, admin) == []


def test_a_name_that_is_taken_or_invited_is_refused(page: Browser, three: list[FakeNode]) -> None:
    assert "another site is called" in page.post("/sites", name="nagoya").text.lower()
    assert page.post("/sites", name="kobe").status_code == 201
    again = page.post("/sites", name="kobe")
    assert again.status_code == 409
    assert "has been invited already" in again.text


def test_an_invitation_is_withdrawn(page: Browser, ctx: Context, admin: Caller) -> None:
    page.post("/sites", name="nagoya", own_name="tsukuba")
    (item,) = invitations.listing(ctx, admin)
    assert f"/site-invitations/{item.id}/withdraw" in page.get("/sites").text
    assert page.post(f"/site-invitations/{item.id}/withdraw").location == "/sites"
    text = page.get("/sites").text
    assert "withdrawn" in text
    assert 'data-site="nagoya"' not in text
    assert "withdrawn" in page.get(f"/site-invitations/{item.id}").text
    assert page.post("/site-invitations/nobody/withdraw").status_code == 404


def test_the_map_tells_each_link_in_figures(page: Browser, three: list[FakeNode]) -> None:
    text = page.get("/sites").text
    assert 'aria-label="nagoya – osaka: up, RTT 12.5 ms, 0 % lost"' in text
    assert 'aria-label="nagoya – sendai: up' in text
    assert 'aria-label="sendai: joining"' in text
    assert "origin" in text
    say(three[0], rtt_ms=12.5, loss=0.2)
    say(three[1], rtt_ms=12.5, loss=0.2)
    assert "tie-bad" not in page.get("/sites").text.partition('class="legend"')[0], (
        "measurements are written once a minute"
    )
    say(three[0], state="down")
    text = page.get("/sites").text.partition('class="legend"')[0]
    assert text.count("tie tie-down") == 2
    assert "nagoya – osaka: down" in text


def test_loss_has_a_colour_and_a_word(page: Browser, three: list[FakeNode], clock: Clock) -> None:
    clock.forward(61)
    for node in three[:2]:
        say(node, rtt_ms=12.5, loss=0.2)
    text = page.get("/sites").text.partition('class="legend"')[0]
    assert "nagoya – osaka: loses many packets, RTT 12.5 ms, 20 % lost" in text
    assert "tie tie-bad" in text
    assert "<text>20 %</text>" in text


def test_a_site_that_announces_what_is_not_its_own_is_named(page: Browser, three: list[FakeNode]) -> None:
    alarm = "site osaka announces 10.1.0.0/20, which belongs to nagoya"
    say(three[0], alarms=(alarm, "a line of its own"), rtt_ms=1.0)
    for path in ("/sites", "/sites/osaka"):
        text = page.get(path).text
        assert "osaka announces what is not its own" in text, path
        assert "10.1.0.0/20 belongs to nagoya" in text
        assert "says nagoya" in text
    assert "spot-accused" in page.get("/sites").text
    told = page.get("/sites/nagoya").text
    assert '<a href="/sites/osaka">osaka</a> announces what is not its own: 10.1.0.0/20 belongs to nagoya' in told
    assert "</a> は自分のものでない" in page.get("/sites/nagoya", Accept_Language="ja").text
    assert "What nagoya says of others" in told
    assert "a line of its own" in told
    assert "nagoya announces what is not its own" not in told
    assert "osaka は自分のものでない" in page.get("/sites/osaka", Accept_Language="ja").text


def test_the_list_shows_and_finds_sites(page: Browser, three: list[FakeNode]) -> None:
    text = page.get("/sites").text
    for word in ("10.1.0.0/20", "fd00:1::/48", f">{three[0].spec.asn}<", "2 / 2"):
        assert word in text, word
    table = page.get("/sites?search=10.2.0").text.partition('id="overlay-list"')[2]
    assert 'href="/sites/osaka"' in table
    assert 'href="/sites/nagoya"' not in table.partition('id="invitations"')[0]
    assert "No site matches." in page.get("/sites?search=nobody").text


def test_a_site_and_a_pair_show_what_was_measured(page: Browser, three: list[FakeNode], clock: Clock) -> None:
    for _ in range(5):
        clock.forward(61)
        say(three[0], rtt_ms=14.0, loss=0.0, jitter_ms=0.4)
    text = page.get("/sites/nagoya").text
    assert "14.0 ms" in text
    assert '<svg class="spark"' in text
    assert 'href="/sites/nagoya/to/osaka"' in text
    pair = page.get("/sites/nagoya/to/osaka?hours=1").text
    assert 'class="chart-rtt" d="M' in pair
    assert re.search(r"usual RTT</dt><dd>14.0 ms", pair)
    assert "Times are" in pair
    assert page.get("/sites/nagoya/to/nobody").status_code == 404
    assert page.get("/sites/nagoya/to/osaka?hours=7").status_code == 422
    assert "Nothing was measured in this time." in page.get("/sites/sendai/to/origin").text


def test_the_grid_has_both_directions(page: Browser, three: list[FakeNode]) -> None:
    text = page.get("/sites?view=grid").text
    for pair in ("/sites/nagoya/to/osaka", "/sites/osaka/to/nagoya"):
        assert f'href="{pair}"' in text
    assert "<b>12</b>" in text or "<b>13</b>" in text
    assert text.count('<td class="cell-self"') == 4


def test_new_keys_are_asked_for(page: Browser, three: list[FakeNode]) -> None:
    assert page.post("/sites/nagoya/rotate").location == "/sites/nagoya?rotating=1"
    assert "makes new keys" in page.get("/sites/nagoya?rotating=1").text
    three[0].poll()
    assert three[0].spec.want_key == 2
    assert page.post("/sites/nobody/rotate").status_code == 404


def test_a_site_is_removed_after_asking(page: Browser, three: list[FakeNode], ctx: Context, admin: Caller) -> None:
    asked = page.get("/sites/osaka/remove").text
    assert "Remove osaka from the overlay?" in asked
    assert "2 sites drop their links" in asked
    assert page.post("/sites/osaka/remove").location == "/sites"
    assert "osaka" not in [site.name for site in sites.listing(ctx, admin)]
    assert page.get("/sites/osaka").status_code == 404
    assert page.post("/sites/origin/remove").status_code == 409
    assert "/sites/origin/remove" not in page.get("/sites/origin").text


@pytest.mark.parametrize("value", HOSTILE[1:])
def test_hostile_input_never_makes_a_500(value: str, page: Browser, three: list[FakeNode]) -> None:
    for field in ("name", "own_name", "hours", "once"):
        answer = page.post("/sites", **{"name": "kobe", "once": f"h{field}", field: value})
        assert answer.status_code < 500, (field, value)
        assert "<script>alert" not in answer.text
    for field in ("search", "after", "view"):
        assert page.client.get("/sites", query_string={field: value}).status_code < 500
    for path in ("/sites/{}", "/sites/{}/remove", "/sites/nagoya/to/{}", "/sites/{}/to/nagoya", "/site-invitations/{}"):
        assert 400 <= page.client.get(path.format(value)).status_code < 500, path


def test_what_sites_say_is_never_markup(page: Browser, three: list[FakeNode]) -> None:
    evil = "<script>alert(1)</script>"
    three[0].report(alarms=(evil, f"site {evil} announces x, which belongs to nobody"), problems=(evil,))
    for path in ("/sites", "/sites/nagoya", "/sites?view=grid"):
        assert "<script>alert" not in page.get(path).text


def test_a_large_overlay_is_drawn_soon(
    page: Browser, ctx: Context, admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = member(ctx, admin, "first", 1)
    first.poll()
    one = sites.listing(ctx, admin)[0]
    many = [_renamed(one, f"site-{number:03}") for number in range(300)]
    links = [_link(number, many[number % 300].name, many[(number * 7 + 1) % 300].name) for number in range(1500)]
    monkeypatch.setattr(sites, "listing", lambda *_: many)
    monkeypatch.setattr(sites, "links", lambda *_: links)
    for path in ("/sites", "/sites?view=grid"):
        began = time.process_time()
        answer = page.get(path)
        assert answer.status_code == 200
        assert time.process_time() - began < 3.0
        assert len(answer.data) < 1_000_000
    text = page.get("/sites").text
    assert text.count('data-site="') == 300
    assert text.partition('id="overlay-list"')[2].partition('id="invitations"')[0].count('class="row-name"') == 50
    assert 'rel="next"' in text


def _renamed(site: sites.SiteView, name: str) -> sites.SiteView:
    from dataclasses import replace

    return replace(site, name=name)


def _link(number: int, a: str, b: str) -> sites.LinkView:
    return sites.LinkView(number, a, "n", b, "n", "mesh", "up", 0.0, 5.0, 0.1, 0.0, 3, 1420)


def test_sites_stand_where_they_are_once_all_have_a_place(page: Browser, three: list[FakeNode]) -> None:
    where = {
        "origin": ("36.1", "140.1"),
        "nagoya": ("35.2", "136.9"),
        "osaka": ("34.7", "135.5"),
        "sendai": ("38.3", "140.9"),
    }
    ring = _heights(page)
    for name, (latitude, longitude) in where.items():
        assert page.post(f"/sites/{name}/place", latitude=latitude, longitude=longitude).status_code == 303
    found = _heights(page)
    assert sorted(found, key=lambda name: found[name]) == ["sendai", "origin", "nagoya", "osaka"]
    assert page.post("/sites/osaka/place", latitude="", longitude="").status_code == 303
    assert _heights(page) == ring


@pytest.mark.parametrize("given", [("91", "0"), ("36", ""), ("", "140"), ("x", "1"), ("0", "-181"), ("nan", "1")])
def test_a_place_that_is_none_is_refused_and_what_was_typed_stays(
    given: tuple[str, str], page: Browser, ctx: Context, admin: Caller, three: list[FakeNode]
) -> None:
    refused = page.post("/sites/osaka/place", latitude=given[0], longitude=given[1])
    assert refused.status_code == 422
    assert (
        f'name="latitude" inputmode="decimal" maxlength="12" size="8" placeholder="36.08" value="{given[0]}"'
        in refused.text
    )
    assert sites.get(ctx, admin, "osaka").latitude is None


def _heights(page: Browser) -> dict[str, float]:
    """Of every site on the map, in percent from its top."""
    found = re.findall(
        r'<svg x="[0-9.]+%" y="([0-9.]+)%" class="spot-at">\s*<a [^>]*data-site="([a-z0-9-]+)"', page.get("/sites").text
    )
    assert len(found) == 4
    return {name: float(y) for y, name in found}


def test_a_member_of_an_overlay_elsewhere_is_told_so_and_that_it_must_renumber(page: Browser, ctx: Context) -> None:
    prefixes = {"ipv4": "10.99.16.0/20", "ipv6": "fd99:1:2::/48"}
    said = wire.Report(node=ctx.config.node, applied_version=0, site="naha", domain="garage.internal", **prefixes)
    nodes.report(ctx, ctx.config.node, said)
    text = page.get("/sites").text
    assert "This garage is site naha of an overlay." in text
    assert "garage site renumber" in text
    assert 'id="invite"' not in text
    assert page.post("/sites", name="kyoto", own_name="x", once="1").status_code == 409


def test_invitations_that_are_over_are_folded_away(page: Browser, three: list[FakeNode]) -> None:
    page.post("/sites", name="kobe")
    waiting, _, over = page.get("/sites").text.partition('id="invitations"')[2].partition("<details")
    assert "kobe" in waiting
    assert "nagoya" not in waiting
    assert "3 earlier invitations" in over
    assert all(node.site in over for node in three)
