"""Snapshots of volumes on the command line and on pages; the worker is played."""
# ruff: noqa: F811  (pytest names fixtures by arguments)

from __future__ import annotations

import threading

import pytest

from garage.db.volume_models import Volume, VolumeSnapshot
from garage.errors import KINDS
from garage.services import machines, volume_snapshots, volumes
from garage.services.context import Caller, Context
from garage.services.volumes import NewVolume
from tests.inproc.served import wait_until
from tests.inproc.shown import browser, shell  # noqa: F401  (fixtures)
from tests.inproc.test_cli import Shell
from tests.inproc.test_machine_pages import Browser
from tests.inproc.test_snapshots_shown import ERROR
from tests.inproc.test_volumes_shown import done, ready


@pytest.fixture
def data(ctx: Context, alice: Caller) -> str:
    """A volume that no machine has."""
    volumes.create(ctx, alice, NewVolume("data", 2))
    return done(ctx, "data", "available").id


def worked(ctx: Context, error: dict[str, object] | None = None) -> bool:
    """Play the worker; False where there is nothing to do."""
    with ctx.db.write() as session:
        for row in session.query(VolumeSnapshot):
            volume = session.get_one(Volume, row.volume_id)
            if volume.revert_to:
                volume.revert_to, volume.state, row.error = "", "available", error
                return True
            if row.state == "making":
                row.state, row.bytes, row.held_gib, row.error = "failed" if error else "ready", 3 << 20, 1, error
                row.made_at = row.created_at
                return True
            if row.state == "deleting":
                session.delete(row)
                return True
    return False


def test_the_command_line_waits_until_it_is_done(shell: Shell, ctx: Context, data: str) -> None:
    def meanwhile(*words: str, error: dict[str, object] | None = None) -> tuple[int, str]:
        worker = threading.Thread(target=lambda: wait_until(lambda: worked(ctx, error), 30))
        worker.start()
        done = shell("volume", "snapshot", *words)
        worker.join()
        return done.returncode, done.stderr if error else done.stdout

    assert shell("volume", "snapshot", "list", "data").stderr.startswith("none; keep what is on it")
    assert meanwhile("create", "data", "before") == (0, "before (3 MiB)\n")
    listed = shell("volume", "snapshot", "list", "data").stdout
    assert all(word in listed for word in ("before", "ready", "3 MiB"))
    assert shell("volume", "snapshot", "revert", "data", "before", stdin="n\n").returncode == 130
    assert meanwhile("revert", "data", "before", "--yes") == (0, "data holds what it held at before.\n")
    status, told = meanwhile("revert", "data", "before", "--yes", error=ERROR)
    assert (status, "no disk space left" in told) == (KINDS["disk_full"].exit, True)
    never = shell("volume", "snapshot", "revert", "data", "never", "--yes")
    assert "“garage volume snapshot list data” shows them" in never.stderr
    assert meanwhile("delete", "data", "before", "--yes") == (0, "Deleting before.\n")
    assert "今の中身を残すには" in shell("volume", "snapshot", "list", "data", LC_ALL="ja_JP.UTF-8").stderr


def test_on_the_volumes_page(browser: Browser, ctx: Context, alice: Caller, data: str) -> None:
    at, one = f"/volumes/{data}", f"/volumes/{data}/snapshots/before"
    assert "None yet. A snapshot keeps what is on the volume now" in browser.get(at).text
    made = browser.post(f"{at}/snapshots", name="before")
    assert (made.status_code, made.location) == (303, at)
    shown = browser.get(at).text
    assert "is being made" in shown
    assert 'hx-select="#snapshots"' in shown
    refused = browser.post(f"{at}/snapshots", name="before")
    assert (refused.status_code, "has a snapshot named before already" in refused.text) == (409, True)
    worked(ctx)
    assert "3 MiB" in browser.get(at).text
    assert "Return data to before" in browser.get(one).text
    assert browser.post(f"{one}/revert").status_code == 422, "the box is not ticked"
    assert not volume_snapshots.get(ctx, alice, data, "before").reverting
    assert browser.post(f"{one}/revert", sure="1").location == at
    assert "the volume returns to it" in browser.get(at).text
    assert browser.post(f"{one}/revert", sure="1").status_code == 409
    assert browser.post(f"{one}/delete").status_code == 409
    worked(ctx, ERROR)
    assert "no disk space left" in browser.get(at).text
    volumes.attach(ctx, alice, data, ready(ctx, alice))
    done(ctx, "data", "attached")
    assert "as after a power cut" in browser.get(at).text
    assert browser.post(f"{at}/snapshots", name="crash", crash="1").location == at
    assert volume_snapshots.get(ctx, alice, data, "crash").how == "crash"
    worked(ctx)
    assert "as after a power cut</span>" in browser.get(at).text
    assert "or its machine is off" in browser.get(one).text
    machines.stop(ctx, alice, "one")
    assert "機械が使えるときか止まっているとき" in browser.get(at, **{"Accept-Language": "ja"}).text
    assert browser.post(f"{one}/delete").location == at
    worked(ctx)
    assert browser.get(one).status_code == 404


def test_anothers_has_no_page(browser: Browser, ctx: Context, bob: Caller) -> None:
    his = volumes.create(ctx, bob, NewVolume("data", 1)).id
    done(ctx, "data", "available")
    volume_snapshots.create(ctx, bob, his, "before")
    assert browser.get(f"/volumes/{his}/snapshots/before").status_code == 404
    for path in ("", "/before/revert", "/before/delete"):
        assert browser.post(f"/volumes/{his}/snapshots{path}", sure="1").status_code == 404
