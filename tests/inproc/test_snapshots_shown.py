"""Snapshots by the command line, the API and on the machine's page, against the real app; the worker is played."""
# ruff: noqa: F811  (pytest names fixtures by arguments)

from __future__ import annotations

import json
import threading

import pytest

from garage.api.app import make_flask
from garage.core.states import Event
from garage.db.models import Machine
from garage.db.snapshot_models import Snapshot
from garage.errors import KINDS
from garage.services import api_tokens, machines, snapshots
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from tests.inproc.served import play, wait_until
from tests.inproc.shown import browser, shell  # noqa: F401  (fixtures)
from tests.inproc.test_cli import Shell
from tests.inproc.test_machine_pages import Browser

ERROR = {"code": "disk_full", "text": "the node has no disk space left", "hint": "delete something", "params": {}}


@pytest.fixture
def one(ctx: Context, alice: Caller) -> str:
    """Off."""
    made = machines.create(ctx, alice, NewMachine(name="one", size="tiny"))
    play(ctx, made.id, Event.STARTED, Event.ANSWERED, Event.STOP, Event.OFF)
    with ctx.db.write() as session:
        session.get_one(Machine, made.id).wants_running = False
    return made.id


def worked(ctx: Context, error: dict[str, object] | None = None) -> bool:
    """Play the worker; False where there is nothing to do."""
    with ctx.db.write() as session:
        for row in session.query(Snapshot):
            machine = session.get_one(Machine, row.machine_id)
            if machine.revert_to:
                machine.revert_to, machine.redo, row.error = "", "", error
                return True
            if row.state == "making":
                row.state, row.bytes, row.held_gib, row.error = "failed" if error else "ready", 3 << 20, 1, error
                return True
            if row.state == "deleting":
                session.delete(row)
                return True
    return False


def test_the_command_line_waits_until_it_is_done(shell: Shell, ctx: Context, alice: Caller, one: str) -> None:
    def meanwhile(*words: str) -> str:
        worker = threading.Thread(target=lambda: wait_until(lambda: worked(ctx), 30))
        worker.start()
        done = shell("machine", "snapshot", *words)
        worker.join()
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert shell("machine", "snapshot", "list", "one").stderr.startswith("none; keep its disk")
    assert meanwhile("create", "one", "before") == "before (3 MiB)\n"
    listed = shell("machine", "snapshot", "list", "one").stdout
    assert all(word in listed for word in ("before", "ready", "3 MiB", "machine off"))
    assert shell("machine", "snapshot", "revert", "one", "before", stdin="n\n").returncode == 130
    assert "start it: garage machine start one" in meanwhile("revert", "one", "before", "--yes")
    assert meanwhile("delete", "one", "before", "--yes") == "Deleting before.\n"
    assert json.loads(shell("machine", "snapshot", "list", "one", "-o", "json").stdout) == {"items": []}
    shell("machine", "snapshot", "create", "one", "more", "--no-wait")
    worked(ctx, ERROR)
    assert snapshots.get(ctx, alice, one, "more").state == "failed"
    again = shell("machine", "snapshot", "create", "one", "more")
    assert again.returncode == KINDS["already_exists"].exit


def test_a_failure_is_the_commands_failure(shell: Shell, ctx: Context, one: str) -> None:
    worker = threading.Thread(target=lambda: wait_until(lambda: worked(ctx, ERROR), 30))
    worker.start()
    done = shell("machine", "snapshot", "create", "one", "before")
    worker.join()
    assert done.returncode == KINDS["disk_full"].exit
    assert "no disk space left" in done.stderr


def test_it_changes_only_what_was_read_and_once(ctx: Context, alice: Caller, one: str) -> None:
    client = make_flask(ctx).test_client()
    auth = {"Authorization": f"Bearer {api_tokens.create(ctx, alice, 'test')[1]}"}
    at = f"/api/v1/machines/{one}/snapshots"
    key = auth | {"Idempotency-Key": "k1"}
    made = [client.post(at, json={"name": "before"}, headers=key) for _ in range(2)]
    assert [answer.status_code for answer in made] == [202, 202]
    assert made[0].json == made[1].json
    read = client.get(f"{at}/before", headers=auth)
    worked(ctx)
    for path, method in ((f"{at}/before/revert", "POST"), (f"{at}/before", "DELETE")):
        stale = client.open(path, method=method, headers=auth | {"If-Match": read.headers["ETag"]})
        assert (stale.status_code, stale.json["code"]) == (412, "version_conflict")  # type: ignore[index]
    now = client.get(f"{at}/before", headers=auth)
    taken = client.post(f"{at}/before/revert", headers=auth | {"If-Match": now.headers["ETag"]})
    assert (taken.status_code, taken.json["reverting"]) == (202, True)  # type: ignore[index]


def test_on_the_machines_page(browser: Browser, ctx: Context, alice: Caller, one: str) -> None:
    assert "None yet." in browser.get(f"/machines/{one}").text
    done = browser.post(f"/machines/{one}/snapshots", name="before")
    assert (done.status_code, done.location) == (303, f"/machines/{one}")
    assert "is being made" in browser.get(f"/machines/{one}").text
    worked(ctx)
    assert "3 MiB" in browser.get(f"/machines/{one}").text
    page = f"/machines/{one}/snapshots/before"
    assert "Return one to before" in browser.get(page).text
    assert browser.post(f"{page}/revert").status_code == 422, "the box is not ticked"
    assert not snapshots.get(ctx, alice, one, "before").reverting
    assert browser.post(f"{page}/revert", sure="1").status_code == 303
    assert "the machine returns to it" in browser.get(f"/machines/{one}").text
    refused = browser.post(f"{page}/revert", sure="1")
    assert refused.status_code == 409
    assert "being returned to a snapshot" in refused.text
    worked(ctx, ERROR)
    assert "no disk space left" in browser.get(f"/machines/{one}").text
    assert browser.post(f"{page}/delete").status_code == 303
    worked(ctx)
    assert browser.get(page).status_code == 404


def test_its_page_in_japanese(browser: Browser, ctx: Context, alice: Caller, one: str) -> None:
    snapshots.create(ctx, alice, one, "before")
    worked(ctx)
    shown = browser.get(f"/machines/{one}", **{"Accept-Language": "ja"}).text
    assert "スナップショットを作る" in shown
    asked = browser.get(f"/machines/{one}/snapshots/before", **{"Accept-Language": "ja"}).text
    assert "この状態に戻す" in asked


def test_anothers_has_no_page(browser: Browser, ctx: Context, bob: Caller) -> None:
    his = machines.create(ctx, bob, NewMachine(name="his", size="tiny")).id
    play(ctx, his, Event.STARTED, Event.ANSWERED)
    snapshots.create(ctx, bob, his, "before")
    assert browser.get(f"/machines/{his}/snapshots/before").status_code == 404
    for path in ("", "/before/revert", "/before/delete"):
        assert browser.post(f"/machines/{his}/snapshots{path}", sure="1").status_code == 404
