"""The inbox and the ways out: on the pages and by the command."""
# ruff: noqa: F811  (pytest names fixtures by arguments)

from __future__ import annotations

import re
from dataclasses import replace

from flask import Flask

from garage.services import channels, news, projects
from garage.services.context import Caller, Context
from tests.inproc.served import Served
from tests.inproc.test_cli import Shell, served, shell  # noqa: F401  (fixtures)
from tests.inproc.test_news import outgoing
from tests.inproc.test_pages import Browser, app, as_admin, as_alice, as_bob, compiled, cookies  # noqa: F401  (fixtures)

URL = "https://hooks.example.org/T1/very-secret-path"


def told(ctx: Context, who: Caller, project: str = "arms") -> None:
    with ctx.db.write() as session:
        news.of_person(session, ctx, "project.added", who.user_id, project=project, by="bob")


def test_an_inbox_on_the_page(ctx: Context, alice: Caller, as_alice: Browser, as_bob: Browser) -> None:
    assert "No news yet." in as_alice.get("/news").text
    told(ctx, alice)
    told(ctx, alice, "<b>legs</b>")
    page = as_alice.get("/news").text
    assert "&lt;b&gt;legs&lt;/b&gt;" in page
    assert re.search(r'class="bell-count">.*</span>2</span>', as_alice.get("/machines").text)
    assert "プロジェクト arms に加わりました" in as_alice.get("/news", Accept_Language="ja").text
    ref = news.listing(ctx, alice).items[0].id
    assert as_bob.post(f"/news/{ref}/read").status_code == 404
    assert as_alice.post(f"/news/{ref}/read").status_code == 303
    assert news.unread(ctx, alice) == 1
    assert as_alice.post("/news/read").status_code == 303
    assert "bell-count" not in as_alice.get("/machines").text
    assert "Nothing unread." in as_alice.get("/news?only=unread").text


def test_ways_out_on_the_page(ctx: Context, app: Flask, alice: Caller, as_alice: Browser, as_bob: Browser) -> None:
    refused = as_alice.post("/news/ways", kind="slack", name="team", url="http://")
    assert refused.status_code == 422
    assert 'value="team"' in refused.text
    assert as_alice.post("/news/ways", kind="slack", name="team", url=URL).status_code == 303
    [way] = channels.listing(ctx, alice)
    shown = as_alice.get("/news/ways").text
    assert "hooks.example.org" in shown
    assert "very-secret" not in shown
    assert as_bob.post(f"/news/ways/{way.id}/test").status_code == 404
    assert as_alice.post(f"/news/ways/{way.id}/test").status_code == 303
    assert outgoing(ctx) == [("team", "test")]
    assert (
        as_alice.post(f"/news/ways/{way.id}", wanted=["machine.failed", "lease.soon"], locale="ja").status_code == 303
    )
    [way] = channels.listing(ctx, alice)
    assert (way.wanted, way.locale) == (["machine.failed", "lease.soon"], "ja")
    assert as_alice.post(f"/news/ways/{way.id}/delete").status_code == 303
    assert channels.listing(ctx, alice) == []
    assert "This garage sends no e-mail yet" in as_alice.get("/news/ways").text
    smtp = {"host": "mail.example.org", "from": "garage@example.org"}
    app.extensions["garage_web"] = replace(ctx, config=replace(ctx.config, smtp=smtp))
    assert as_alice.post("/news/ways", kind="mail", name="E-mail", address="alice@example.org").status_code == 303
    [way] = channels.listing(ctx, alice)
    assert as_alice.post(f"/news/ways/{way.id}/confirm", code="x").status_code == 401
    with ctx.db.read() as session:
        code = channels.unlocked(ctx, session.get_one(channels.Channel, way.id).target)["code"]
    assert as_alice.post(f"/news/ways/{way.id}/confirm", code=code).status_code == 303
    assert channels.listing(ctx, alice)[0].confirmed


def test_webhooks_of_a_project(ctx: Context, alice: Caller, bob: Caller, as_alice: Browser, as_bob: Browser) -> None:
    projects.create(ctx, alice, "arms")
    made = as_alice.post("/news/ways", kind="json", name="bot", url=URL, project="arms")
    assert made.status_code == 201
    assert "whsec_" in made.text
    assert "whsec_" not in as_alice.get("/projects/arms/ways").text
    assert as_bob.get("/projects/arms/ways").status_code == 404
    projects.set_member(ctx, alice, "arms", "bob", "member")
    assert as_bob.get("/projects/arms/ways").status_code == 403


def test_by_the_command(ctx: Context, shell: Shell, served: Served, alice: Caller) -> None:
    told(ctx, alice)
    assert "You are in project arms now" in shell("news", "list", "--unread").stdout
    assert shell("news", "read", "--all").returncode == 0
    assert "no news" in shell("news", "list", "--unread").stderr
    assert shell("channel", "add", "team").returncode == 2
    added = shell("channel", "add", "bot", "--json", URL, "--news", "machine.failed")
    assert "shown this once: whsec_" in added.stdout, added.stderr
    [way] = channels.listing(ctx, alice)
    assert shell("channel", "test", way.id).returncode == 0
    assert "1 on their way" in shell("channel", "list").stdout
    assert shell("channel", "set", way.id, "lease.soon").returncode == 0
    assert channels.listing(ctx, alice)[0].wanted == ["lease.soon"]
    assert shell("channel", "remove", way.id).returncode == 0
    assert channels.listing(ctx, alice) == []
