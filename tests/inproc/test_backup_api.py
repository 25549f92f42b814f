"""Backup, restore and adoption as an admin uses them: the command over the real server, and the page."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

import web
from garage.api.app import make_flask
from garage.db.models import Audit
from garage.db.node_models import Adoption
from garage.services import accounts, adoption, machines
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from tests.inproc.served import Served, serving
from tests.inproc.test_pages import Browser
from web import catalogue
from web.i18n import translate_error

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def served(ctx: Context, admin: Caller, alice: Caller) -> Iterator[Served]:
    with serving(ctx) as made:
        yield made


@pytest.fixture
def cli(served: Served, admin: Caller, tmp_path: Path) -> Cli:
    def run(*words: str, language: str = "C.UTF-8", who: Caller = admin) -> subprocess.CompletedProcess[str]:
        home = tmp_path / f"home-{who.name}"
        if not home.exists():
            home.mkdir()
            run("login", served.url, "--token-stdin", who=who)
        token = served.token(who) if words[0] == "login" else ""
        environ = {**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home), "LC_ALL": language}
        argv = [sys.executable, "-m", "garage.cli", *words]
        return subprocess.run(argv, env=environ, input=token, capture_output=True, text=True, timeout=60, check=False)

    return run


def look(ctx: Context) -> None:
    """What a worker does: it sees nothing there."""
    with ctx.db.write() as session:
        session.get_one(Adoption, ctx.config.node).seen_at = ctx.clock()


def test_there_and_back_by_the_command(cli: Cli, ctx: Context, alice: Caller, admin: Caller, tmp_path: Path) -> None:
    machines.create(ctx, alice, NewMachine(name="one", size="tiny"))
    file = tmp_path / "of today.backup"
    saved = cli("admin", "backup", str(file))
    assert saved.returncode == 0, saved.stderr
    assert "keys/" in saved.stdout
    assert file.stat().st_mode & 0o777 == 0o600
    assert gzip.decompress(file.read_bytes()).startswith(b'{"garage":"backup"')
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    again = cli("admin", "backup", str(file))
    assert again.returncode == 10
    assert cli("admin", "backup", "--force", str(file)).returncode == 0

    ctx.clock.forward(5)  # type: ignore[attr-defined]
    machines.create(ctx, alice, NewMachine(name="two", size="tiny"))
    refused = cli("admin", "restore", str(file))
    assert refused.returncode != 0, "nobody said yes"
    done = cli("admin", "restore", "--yes", str(file))
    assert done.returncode == 0, done.stderr
    assert "garage admin adopt" in done.stdout
    assert [item.name for item in machines.listing(ctx, alice).items] == ["one"]
    early = cli("admin", "adopt", "--yes")
    assert early.returncode == 11
    assert "no node was looked at yet" in early.stderr
    look(ctx)
    assert "ノードはデータベースのとおりです" in cli("admin", "adopt", language="ja_JP.UTF-8").stderr
    assert adoption.plan(ctx, admin).needed
    assert "node1" in cli("admin", "adopt", "--yes").stdout
    assert not adoption.plan(ctx, admin).needed
    assert "No node waits" in cli("admin", "adopt").stdout
    with ctx.db.read() as session:
        actions = [row.action for row in session.query(Audit).order_by(Audit.id)]
    assert [action for action in actions if action.startswith("garage.")][-2:] == ["garage.restore", "garage.adopt"]


def test_members_and_bad_files_are_refused(cli: Cli, ctx: Context, alice: Caller, tmp_path: Path) -> None:
    file, bad = tmp_path / "one.backup", tmp_path / "bad.backup"
    assert cli("admin", "backup", str(file), who=alice).returncode == 5
    assert not file.exists()
    bad.write_bytes(b"hello")
    assert cli("admin", "restore", "--yes", str(bad), who=alice).returncode == 5
    told = cli("admin", "restore", "--yes", str(bad))
    assert told.returncode == 2
    assert "no whole backup" in told.stderr
    assert "nothing was changed" in told.stderr


def test_a_browser_gets_no_backup(served: Served, ctx: Context, admin: Caller) -> None:
    cookie = accounts.accept_invitation(
        ctx, accounts.reset_link(ctx, admin, admin.name), "a long password", "192.0.2.1"
    )[1]
    for name in ("garage", "__Host-garage"):
        with httpx.Client(base_url=served.url, cookies={name: cookie}, timeout=60) as http:
            assert http.get("/api/v1/me").status_code == 200 or name != "garage"
            assert http.get("/api/v1/backup").status_code == 401
            assert http.post("/api/v1/restore", content=b"x").status_code == 401


def test_the_page_shows_the_plan_and_takes_it(ctx: Context, admin: Caller, alice: Caller) -> None:
    catalogue.compile_all()
    app = make_flask(ctx, translate=translate_error)
    web.register(app, ctx)
    pages = {}
    for who in (admin, alice):
        token = accounts.reset_link(ctx, admin, who.name)
        pages[who.name] = Browser(
            app, accounts.accept_invitation(ctx, token, f"password of {who.name}", "192.0.2.9")[1]
        )
    assert "Restored from a backup" not in pages[admin.name].get("/nodes").text
    row = Adoption(node=ctx.config.node, since=1.0, seen_at=2.0, domains={"0123456789abcdef0123": ["running", "other"]})
    with ctx.db.write() as session:
        session.add(row)
    assert "Restored from a backup" not in pages["alice"].get("/nodes").text
    text = pages[admin.name].get("/nodes", Accept_Language="ja").text
    assert "バックアップから復元しました" in text
    assert "0123456789abcdef0123" in text
    digest = text.partition('name="digest" value="')[2][:16]
    assert pages["alice"].post("/nodes/adopt", digest=digest).status_code == 403
    assert pages[admin.name].post("/nodes/adopt", digest="0" * 16).status_code == 412
    assert adoption.plan(ctx, admin).needed
    assert pages[admin.name].post("/nodes/adopt", digest=digest).location == "/nodes"
    assert not adoption.plan(ctx, admin).needed
