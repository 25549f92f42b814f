"""Images of machines: who may ask, of what, by API, command and page, and what a worker finds when it comes to it."""
# ruff: noqa: F811  (pytest names fixtures by arguments)

from __future__ import annotations

import threading

import pytest

from garage.core.states import Event
from garage.db.models import Audit, Machine
from garage.db.snapshot_models import Snapshot
from garage.errors import GarageError
from garage.services import image_tasks, images, machines, projects, saving, snapshots
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from garage.services.saving import NewSave
from garage.worker.importing import Importer
from tests.conftest import Clock
from tests.inproc.served import play, wait_until
from tests.inproc.shown import shell  # noqa: F401  (a fixture)
from tests.inproc.test_cli import Shell
from tests.inproc.test_image_tasks import WORKER, manifest, refused
from tests.inproc.test_machine_pages import browse
from web import catalogue


@pytest.fixture
def one(ctx: Context, alice: Caller) -> str:
    """Stopped."""
    made = machines.create(ctx, alice, NewMachine(name="one", size="tiny"))
    play(ctx, made.id, Event.STARTED, Event.ANSWERED, Event.STOP, Event.OFF)
    change(ctx, made.id, wants_running=False)
    return made.id


def change(ctx: Context, machine: str, **values: object) -> None:
    with ctx.db.write() as session:
        row = session.get_one(Machine, machine)
        for name, value in values.items():
            setattr(row, name, value)


def worked(ctx: Context) -> bool:
    """Play the worker; False where there is nothing to do."""
    task = image_tasks.claim(ctx, WORKER)
    if task is None:
        return False
    saving.place_of(ctx, task)
    image_tasks.done(ctx, task, manifest(initrd="garage", boot="kernel"))
    return True


def test_it_is_theirs_for_whom_it_was_made(ctx: Context, alice: Caller, bob: Caller, one: str) -> None:
    projects.create(ctx, alice, "arms")
    change(ctx, one, project_id=projects.get(ctx, alice, "arms").id)
    with refused("not_found"):
        saving.save(ctx, bob, one, NewSave("base"))
    projects.set_member(ctx, alice, "arms", "bob", "member")
    task = saving.save(ctx, bob, "one.arms", NewSave("base", visibility="project"))
    assert (task.kind, task.state, task.owner) == ("save", "waiting", "bob")
    assert worked(ctx)
    made = images.get(ctx, alice, "base")
    assert (made.owner, made.project, made.boot) == ("bob", "arms", "kernel")
    with refused("already_exists", "/name"):
        saving.save(ctx, alice, "one.arms", NewSave("debian-12"))
    machines.delete(ctx, alice, "one.arms")
    assert machines.create(ctx, bob, NewMachine(name="two", image="base", size="tiny")).image == "base"
    with refused("in_use"):
        images.delete(ctx, bob, "base")
    with ctx.db.read() as session:
        entry = session.query(Audit).filter_by(action="image.save").one()
    assert (entry.actor, entry.subject, entry.detail["image"]) == ("bob", "one.arms", "base")


HOW: tuple[dict[str, object], ...] = (
    *({"state": state} for state in ("ready", "suspended", "failed", "lost")),
    *({"wants_running": True}, {"redo": "disk"}, {"moving_to": "node1"}),
)


@pytest.mark.parametrize("how", HOW, ids=str)
def test_nobody_writes_to_the_disk_meanwhile(ctx: Context, alice: Caller, one: str, how: dict[str, object]) -> None:
    """Neither when it is asked for nor when a worker comes to it."""
    task = saving.save(ctx, alice, one, NewSave("base"))
    change(ctx, one, **how)
    with refused("wrong_state"):
        saving.save(ctx, alice, one, NewSave("other"))
    assert Importer(ctx, ctx.config).turn()
    error = image_tasks.get(ctx, alice, task.id).error
    assert error is not None
    assert error["code"] == "wrong_state"


def test_a_machine_that_was_started_and_stopped_in_between_is_noticed(
    ctx: Context, clock: Clock, alice: Caller, one: str
) -> None:
    saving.save(ctx, alice, one, NewSave("base"))
    task = image_tasks.claim(ctx, WORKER)
    assert task is not None
    before = saving.place_of(ctx, task)
    for redo in (
        "revert",
        "",
    ):  # a stopped machine that went back to a snapshot has another disk, and was never started
        clock.forward(60)
        change(ctx, one, redo=redo, reverted_at=clock())
        with refused("wrong_state"):
            saving.place_of(ctx, task)
    change(ctx, one, reverted_at=None)
    assert saving.place_of(ctx, task) == before
    play(ctx, one, Event.START, Event.STOP, Event.OFF)
    with refused("wrong_state"):
        saving.place_of(ctx, task)
    image_tasks.cancel(ctx, alice, task.id)
    with refused("version_conflict"):
        saving.place_of(ctx, task)


def test_a_snapshot_does_for_a_machine_that_runs(ctx: Context, alice: Caller, one: str) -> None:
    snapshots.create(ctx, alice, one, "before")
    with refused("wrong_state"):
        saving.save(ctx, alice, one, NewSave("base", "before"))
    with refused("not_found", "/snapshot"):
        saving.save(ctx, alice, one, NewSave("base", "after"))
    with ctx.db.write() as session:
        row = session.query(Snapshot).one()
        row.state, row.made_at, older = "ready", 7.0, row.image_id
    play(ctx, one, Event.START, Event.ANSWERED)
    saving.save(ctx, alice, one, NewSave("base", "before"))
    task = image_tasks.claim(ctx, WORKER)
    assert task is not None
    place = saving.place_of(ctx, task)
    assert (place.snapshot, place.since, place.node.name) == (row.id, 7.0, ctx.config.node)
    assert place.image == images.get(ctx, alice, older).sha256
    snapshots.delete(ctx, alice, one, "before")
    with refused("wrong_state"):
        saving.place_of(ctx, task)


def test_a_disk_that_no_image_may_have(ctx: Context, alice: Caller, one: str) -> None:
    change(ctx, one, disk_gib=65)
    with refused("too_large"):
        saving.save(ctx, alice, one, NewSave("base"))


def test_a_disk_that_is_not_there_is_told(ctx: Context, alice: Caller, one: str) -> None:
    task = saving.save(ctx, alice, one, NewSave("base"))
    assert Importer(ctx, ctx.config).turn()
    error = image_tasks.get(ctx, alice, task.id).error
    assert error is not None
    assert GarageError.from_dict(error).message == "the machine's disk is not where it should be"
    assert list((ctx.config.home / "work").iterdir()) == []


def test_by_command_and_on_the_machines_page(shell: Shell, ctx: Context, alice: Caller, one: str) -> None:
    worker = threading.Thread(target=lambda: wait_until(lambda: worked(ctx), 30))
    worker.start()
    done = shell("image", "save", "one", "base", "--for", "all")
    worker.join()
    assert done.stdout == "garage machine create --image base\n", done.stderr
    assert shell("image", "save", "one", "other", "--snapshot", "none").returncode == 3
    catalogue.compile_all()
    page = browse(ctx, alice)
    assert "its disk" in page.get(f"/machines/{one}").text
    assert page.post(f"/machines/{one}/image", name="mine", people="own").location == "/images"
    task = image_tasks.claim(ctx, WORKER)
    assert task is not None
    image_tasks.progress(ctx, task, "strip", 0, 0)
    assert "taking its identity off" in page.get("/images").text
    play(ctx, one, Event.START, Event.ANSWERED)
    assert "Stop the machine, or make a snapshot" in page.get(f"/machines/{one}").text
    assert page.post(f"/machines/{one}/image", name="later").status_code == 409
