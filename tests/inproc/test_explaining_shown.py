"""What `garage machine explain` and the pages say of placement; what is true of it is test_explaining's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

import web
from garage.services import accounts, machines, projects
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from tests.inproc.served import Served, serving
from tests.inproc.test_cli import Shell
from tests.inproc.test_explaining import of_all_kinds
from web import catalogue
from web.i18n import translate_error


@pytest.fixture
def several(ctx: Context, admin: Caller) -> Context:
    return of_all_kinds(ctx, admin)


@pytest.fixture
def app(several: Context) -> Flask:
    from garage.api.app import make_flask

    catalogue.compile_all()
    made = make_flask(several, translate=translate_error)
    web.register(made, several)
    return made


@pytest.fixture
def served(several: Context) -> Iterator[Served]:
    with serving(several) as running:
        yield running


def test_at_the_command_line(several: Context, served: Served, admin: Caller, alice: Caller, tmp_path: Path) -> None:
    shell = Shell(tmp_path, GARAGE_URL=served.url, GARAGE_TOKEN=served.token(alice))
    projects.set_quota(several, admin, "alice", {"machines": 20})
    made = shell("machine", "create", "db", "--size", "tiny", "--count", "2", "--apart", "db", "--no-wait")
    assert made.stdout.splitlines() == ["db-1: preparing", "db-2: preparing"], made.stderr
    told = shell("machine", "explain", "db-1")
    assert "db-1 is on node1 since" in told.stdout
    assert "is being emptied" in told.stdout
    hypothetical = shell("machine", "explain", "--size", "tiny", "--label", "gpu=h100")
    assert "None of 4 nodes can take it." in hypothetical.stdout
    assert "has not the label gpu=h100" in hypothetical.stdout
    assert json.loads(shell("machine", "explain", "--size", "tiny", "-o", "json").stdout)["node"] == "node1"
    assert shell("machine", "explain", "db-1", "--size", "tiny").returncode == 2
    assert shell("node", "label", "sim3", "a=b").returncode == 5
    boss = Shell(tmp_path, GARAGE_URL=served.url, GARAGE_TOKEN=served.token(admin))
    assert boss("node", "label", "sim3", "gpu=", "ssd=1").stdout == "sim3: room=lab2 ssd=1\n"
    assert "room=lab2 ssd=1" in boss("node", "list").stdout


def test_on_its_page(several: Context, app: Flask, admin: Caller, alice: Caller) -> None:
    machines.create(several, alice, NewMachine(name="one", size="tiny", apart="db"))
    cookie = accounts.accept_invitation(
        several, accounts.reset_link(several, admin, "alice"), "password of alice", "192.0.2.9"
    )[1]
    browser = app.test_client()
    browser.set_cookie("garage", cookie)
    shown = browser.get("/machines/one").text
    assert "Why on node1" in shown
    assert "2 nodes had room when it was made." in shown
    assert "“db”" in shown
    every = browser.get("/machines/one/why").text
    assert "Is being emptied" in every
    assert "Does not answer" in every
