"""Volumes on the command line and on pages."""
# ruff: noqa: F811  (pytest names fixtures by arguments)

from __future__ import annotations

import json

from sqlalchemy import select

from garage.core.states import Event
from garage.db.volume_models import Volume
from garage.errors import KINDS
from garage.services import machines, volumes
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from garage.services.volumes import NewVolume
from tests.inproc.served import play
from tests.inproc.shown import browser, shell  # noqa: F401  (fixtures)
from tests.inproc.test_cli import Shell
from tests.inproc.test_machine_pages import Browser


def done(ctx: Context, name: str, state: str) -> Volume:
    """As a worker would tell."""
    with ctx.db.write() as session:
        row = session.scalars(select(Volume).where(Volume.name == name)).one()
        row.state, row.made_gib = state, row.size_gib
        if state == "available":
            row.machine_id = row.slot = None
        return row


def ready(ctx: Context, who: Caller, name: str = "one") -> str:
    made = machines.create(ctx, who, NewMachine(name=name, size="tiny"))
    play(ctx, made.id, Event.STARTED, Event.ANSWERED)
    return made.id


def test_the_command_line_has_all_of_it(shell: Shell, ctx: Context, alice: Caller) -> None:
    ready(ctx, alice)
    assert shell("volume", "create", "data", "--size", "2", "--no-wait").stdout == "data (2 GiB): being made\n"
    volume = done(ctx, "data", "available").id
    assert shell("volume", "attach", "data", "one", "--no-wait").stdout == "data (2 GiB): being attached\n"
    done(ctx, "data", "attached")
    [line] = shell("volume", "list", "--machine", "one").stdout.splitlines()[1:]
    assert line.split() == ["data.alice", "attached", "2", "GiB", "one", ctx.config.node]
    assert f"/dev/disk/by-id/virtio-{volume}" in shell("volume", "show", "data").stdout
    grown = json.loads(shell("-o", "json", "volume", "grow", "data", "3", "--no-wait").stdout)
    assert (grown["size_gib"], grown["made_gib"]) == (3, 2)
    refused = shell("volume", "delete", "data", "--yes")
    assert refused.returncode == KINDS["in_use"].exit
    assert "garage volume detach data" in refused.stderr
    in_japanese = shell("volume", "list", LC_ALL="ja_JP.UTF-8").stdout
    assert "取り付け済み" in in_japanese
    assert "3 GiB のうち 2 GiB" in in_japanese
    assert shell("volume", "detach", "data", "--no-wait").stdout == "data (3 GiB): being detached\n"
    done(ctx, "data", "available")
    assert shell("volume", "delete", "data", stdin="n\n").returncode == 130
    assert shell("volume", "delete", "data", "--yes").stdout == "Deleting data.\n"


def test_on_pages(browser: Browser, ctx: Context, alice: Caller) -> None:
    ref = ready(ctx, alice)
    assert "None yet." in browser.get("/volumes").text
    assert browser.post("/volumes", name="Data!", size_gib="2").status_code == 422
    assert browser.post("/volumes", name="data", size_gib="2").status_code == 303
    shown = browser.get("/volumes").text
    assert 'hx-trigger="every 2s"' in shown
    assert "being made" in shown
    volume = done(ctx, "data", "available").id
    assert "every 2s" not in browser.get("/volumes").text
    assert "data (2 GiB)" in browser.get(f"/machines/{ref}").text
    assert browser.post(f"/machines/{ref}/volumes", volume=volume).location == f"/machines/{ref}"
    done(ctx, "data", "attached")
    assert f"virtio-{volume}" in browser.get(f"/machines/{ref}").text
    at = f"/volumes/{volume}"
    refused = browser.post(f"{at}/delete", sure="1")
    assert refused.status_code == 409
    assert "garage volume detach data" in refused.text
    assert browser.post(f"{at}/grow", size_gib="4").location == at
    assert "growing" in browser.get(at).text
    done(ctx, "data", "attached")
    assert browser.post(f"{at}/detach", **{"from": ref}).location == f"/machines/{ref}"
    done(ctx, "data", "available")
    assert browser.post(f"{at}/delete").status_code == 422, "the box is not ticked"
    assert browser.post(f"{at}/attach", machine=ref).location == at
    done(ctx, "data", "available")
    assert "ボリュームを作る" in browser.get("/volumes", **{"Accept-Language": "ja"}).text
    assert "取り付ける" in browser.get(at, **{"Accept-Language": "ja"}).text
    assert browser.post(f"{at}/delete", sure="1").location == "/volumes"
    assert browser.post(f"{at}/nothing").status_code == 404


def test_a_new_machine_gets_those_that_are_ticked(browser: Browser, ctx: Context, alice: Caller) -> None:
    assert "<legend>Volumes" not in browser.get("/machines").text
    volumes.create(ctx, alice, NewVolume("data", 2))
    volume = done(ctx, "data", "available").id
    assert "data (2 GiB)" in browser.get("/machines").text
    refused = browser.post("/machines", name="many", size="tiny", project="alice", count="2", volume=volume)
    assert (refused.status_code, f'value="{volume}" checked' in refused.text) == (422, True)
    made = browser.post("/machines", name="one", size="tiny", project="alice", volume=volume)
    assert made.status_code == 303
    assert (volumes.get(ctx, alice, "data").machine, volumes.get(ctx, alice, "data").state) == ("one", "attaching")
    assert volume not in browser.get("/machines").text


def test_anothers_has_no_page(browser: Browser, ctx: Context, bob: Caller) -> None:
    ref = ready(ctx, bob, "his")
    his = volumes.create(ctx, bob, NewVolume("data", 1)).id
    assert browser.get(f"/volumes/{his}").status_code == 404
    for act in ("attach", "detach", "grow", "delete"):
        assert browser.post(f"/volumes/{his}/{act}", machine=ref, size_gib="2", sure="1").status_code == 404
    assert browser.post(f"/machines/{ref}/volumes", volume=his).status_code == 404
    assert his not in browser.get("/volumes").text
