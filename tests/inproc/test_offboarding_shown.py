"""Somebody leaves: on the pages and by the command."""
# ruff: noqa: F811  (pytest names fixtures by arguments)

from __future__ import annotations

from garage.client.commands import offboard
from garage.core.states import Event
from garage.services import api_tokens, keys, machines
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from tests.conftest import ALICE_KEY
from tests.inproc.served import Served, play
from tests.inproc.test_cli import Shell, served, shell  # noqa: F401  (fixtures)
from tests.inproc.test_pages import Browser, app, as_admin, as_alice, cookies  # noqa: F401  (fixtures)


def test_on_the_page(ctx: Context, alice: Caller, as_admin: Browser, as_alice: Browser) -> None:
    keys.add(ctx, alice, "laptop", ALICE_KEY)
    made = machines.create(ctx, alice, NewMachine(name="one", size="tiny"))
    play(ctx, made.id, Event.STARTED, Event.ANSWERED)
    assert as_alice.get("/users/bob/offboard").status_code == 403
    assert as_admin.get("/users/nobody/offboard").status_code == 404
    assert "goes to bob" in as_admin.get("/users/alice/offboard").text
    assert as_admin.post("/users/alice/offboard", to="nobody").status_code == 404
    done = as_admin.post("/users/alice/offboard", to="bob")
    assert (done.status_code, done.location) == (303, "/users/alice/offboarded")
    told = as_admin.get("/users/alice/offboarded").text
    assert "bob owns now: alice" in told
    assert "does not answer yet" in told
    assert as_alice.get("/machines").status_code == 303, "signed out"
    assert as_admin.post("/users/bob/offboard", to="").status_code == 303
    assert "No machine knew a key of theirs" in as_admin.get("/users/bob/offboarded").text


def test_a_projects_page_tells_what_happened_in_it(ctx: Context, alice: Caller, bob: Caller, as_alice: Browser) -> None:
    machines.create(ctx, alice, NewMachine(name="one", size="tiny"))
    machines.create(ctx, bob, NewMachine(name="his", size="tiny"))
    text = as_alice.get("/projects/alice").text
    assert "asked for a machine" in text
    assert "one.alice" in text
    assert "his.bob" not in text


def test_by_the_command(ctx: Context, shell: Shell, served: Served, admin: Caller, alice: Caller) -> None:
    root = Shell(shell.home, **shell.environment | {"GARAGE_TOKEN": api_tokens.create(ctx, admin, "root")[1]})
    assert root("user", "offboard", "alice").returncode == 2
    assert shell("user", "offboard", "root-admin", "--delete").returncode == 2, "nobody is there to answer"
    assert shell("user", "offboard", "root-admin", "--delete", "--yes").returncode == 5
    machines.create(ctx, alice, NewMachine(name="one", size="tiny"))
    done = root("user", "offboard", "alice", "--to", "root-admin")
    assert done.returncode == 0, done.stderr
    assert "alice is shut out. root-admin owns now: alice." in done.stdout
    assert shell("status").returncode == 4


def test_what_could_not_be_reached_is_said() -> None:
    found = [
        {"machine": "one", "project": "arms", "state": "gone"},
        {"machine": "two", "project": "arms", "state": "unreachable"},
    ]
    assert (
        offboard._keys(found)
        == "Machines from which keys were removed: 1.\nStill there:\ntwo.arms: its node does not answer"
    )
