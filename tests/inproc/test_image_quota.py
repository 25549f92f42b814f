"""Stored images count in a project's quota, from the moment that somebody wants them; and whose turn it is when many want some."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from garage import tracing
from garage.core.states import Event
from garage.db.models import Machine, User
from garage.errors import GarageError
from garage.services import image_tasks, image_views, images, machines, projects, saving, service_accounts
from garage.services.context import Caller, Context
from garage.services.image_tasks import NewImage, Task
from garage.services.machines import NewMachine
from garage.services.saving import NewSave
from garage.shell.image_import import Order
from garage.shell.images import Manifest
from garage.shell.workplace import Told, tell_made
from garage.worker import importing
from garage.worker.importing import Importer
from tests.conftest import Clock
from tests.inproc.served import play, wait_until
from tests.inproc.test_image_tasks import HEX, MINE, brought, claimed, manifest, refused
from tests.inproc.test_image_uploads import stored

GIB = 1 << 30


def of_bytes(size: int) -> Manifest:
    nothing = dict.fromkeys(("suite", "recipe", "kernel_sha256", "initrd_sha256", "kernel_release", "cmdline"), "")
    return Manifest("mine", "mine", sha256="78" * 32, **nothing, virtual_bytes=9 * GIB, built_at=0.0, bytes=size)


def upload(size: int, name: str = "up") -> NewImage:
    return NewImage(name, HEX, bytes=size)


def used(ctx: Context, who: Caller, project: str = "alice") -> tuple[int, int]:
    """GiB of images: (used, of so many)."""
    usage = projects.get(ctx, who, project).usage
    return usage.used["image_gib"], usage.quota["image_gib"]


def test_what_is_on_its_way_counts_before_it_is_there(ctx: Context, admin: Caller, alice: Caller, bob: Caller) -> None:
    projects.set_quota(ctx, admin, "alice", {"image_gib": 4})
    with refused("quota_exceeded"):
        image_tasks.bring(ctx, alice, upload(4 * GIB + 1))
    image_tasks.bring(ctx, alice, upload(3 * GIB))
    image_tasks.bring(ctx, alice, replace(MINE, name="of-unknown-size"))
    assert used(ctx, alice) == (4, 4)
    with refused("quota_exceeded"):
        image_tasks.bring(ctx, alice, MINE)
    image_tasks.bring(ctx, bob, MINE)
    image_tasks.cancel(ctx, alice, "up")
    assert used(ctx, alice) == (1, 4)
    image_tasks.failed(ctx, claimed(ctx), GarageError("image_refused", "no", why="sha256"))
    assert used(ctx, alice) == (0, 4)


def test_what_became_larger_than_allowed_is_not_kept(
    ctx: Context, admin: Caller, alice: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    projects.set_quota(ctx, admin, "alice", {"image_gib": 2})
    image_tasks.bring(ctx, alice, MINE)
    large = of_bytes(2 * GIB + 1)

    def made(*_: object, **__: object) -> Manifest:
        stored(ctx, large.sha256)
        return large

    monkeypatch.setattr(importing, "make_image", made)
    assert Importer(ctx, ctx.config).turn()
    [task] = image_tasks.listing(ctx, alice)
    assert (task.state, (task.error or {})["code"]) == ("failed", "quota_exceeded")
    assert not (ctx.config.home / "images" / large.sha256).exists()
    assert (used(ctx, alice), [image.name for image in image_views.page(ctx, alice).items]) == ((0, 2), ["debian-12"])


def test_the_workers_lines_say_for_which_request_it_is(
    ctx: Context, alice: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.handler.addFilter(tracing.Stamp())
    caplog.set_level(logging.INFO)
    image_tasks.bring(replace(ctx, request="r-7"), alice, MINE)

    def fails(*_: object, **__: object) -> Manifest:
        raise GarageError("image_refused", "no", why="sha256")

    monkeypatch.setattr(importing, "make_image", fails)
    assert Importer(ctx, ctx.config).turn()
    said = [record for record in caplog.records if record.name == "garage.worker.importing"]
    assert [record.levelname for record in said] == ["INFO", "WARNING"]
    assert {record.request for record in said} == {"[r-7] "}


@pytest.mark.parametrize(
    ("step", "done", "total"),
    [("fetch", 1000, 2 * GIB + 1), ("fetch", 2 * GIB + 1, 0), ("convert", 2 * GIB + 1, 2 * GIB + 1)],
)
def test_one_of_unknown_size_ends_as_soon_as_it_is_too_large(
    ctx: Context, admin: Caller, alice: Caller, monkeypatch: pytest.MonkeyPatch, step: str, done: int, total: int
) -> None:
    projects.set_quota(ctx, admin, "alice", {"image_gib": 2})
    image_tasks.bring(ctx, alice, MINE)
    seen = []

    def make_image(order: Order, *, told: Told, **_: object) -> Manifest:
        told("check", 9 * GIB, 9 * GIB)  # nothing that stays
        told("fetch", 1000, 2 * GIB)
        seen.append(used(ctx, alice))
        told(step, done, total)
        pytest.fail("it went on")

    monkeypatch.setattr(importing, "make_image", make_image)
    monkeypatch.setattr(importing, "TELL", 0.0)
    assert Importer(ctx, ctx.config).turn()
    [task] = image_tasks.listing(ctx, alice)
    assert (task.state, (task.error or {})["code"]) == ("failed", "quota_exceeded")
    assert (seen, used(ctx, alice)) == ([(2, 2)], (0, 2)), "what its source announces is reserved, until it ends"


def test_all_that_was_converted_is_told_also_more_than_its_source_has(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(bytes(10))
    said: list[tuple[str, int, int]] = []
    for total in (4, 20):
        tell_made(tmp_path / "disk", total, lambda *word: said.append(word))
    assert said == [("convert", 10, 10), ("convert", 10, 20)]


def test_older_versions_count_and_deleted_ones_do_not(ctx: Context, admin: Caller, alice: Caller) -> None:
    projects.set_quota(ctx, admin, "alice", {"image_gib": 3})
    brought(ctx, alice, bytes=GIB)
    brought(ctx, alice, sha256="56" * 32, bytes=GIB)
    assert used(ctx, alice) == (2, 3)
    image_tasks.bring(ctx, alice, MINE)
    with pytest.raises(GarageError) as error:
        image_tasks.bring(ctx, alice, replace(MINE, name="other"))
    assert error.value.params["names"].split(", ")[0] == f"mine {'34' * 8}", "the older one is named"
    images.delete(ctx, alice, "34" * 32)
    image_tasks.bring(ctx, alice, replace(MINE, name="other"))


def test_it_counts_where_it_is_shared(ctx: Context, admin: Caller, alice: Caller, bob: Caller) -> None:
    projects.create(ctx, alice, "arms")
    projects.set_member(ctx, alice, "arms", "bob", "member")
    brought(ctx, bob, bytes=3 * GIB)
    assert used(ctx, bob, "bob")[0] == 3
    projects.set_quota(ctx, admin, "arms", {"image_gib": 2})
    with refused("quota_exceeded"):
        images.share(ctx, bob, "mine", "project", "arms")
    projects.set_quota(ctx, admin, "arms", {"image_gib": 3})
    images.share(ctx, bob, "mine", "project", "arms")
    assert (used(ctx, bob, "bob")[0], used(ctx, alice, "arms")[0]) == (0, 3)
    with refused("quota_exceeded"):
        image_tasks.bring(ctx, alice, replace(MINE, name="other", visibility="project", project="arms"))
    images.share(ctx, bob, "mine", "all", None)
    assert (used(ctx, bob, "bob")[0], used(ctx, alice, "arms")[0]) == (3, 0)
    brought(ctx, alice, replace(MINE, name="last", visibility="project", project="arms"), sha256="56" * 32)
    projects.delete(ctx, alice, "arms")
    assert used(ctx, alice)[0] == 1


def test_a_machine_is_saved_only_where_there_is_room(ctx: Context, admin: Caller, alice: Caller) -> None:
    made = machines.create(ctx, alice, NewMachine(name="one", size="tiny"))
    play(ctx, made.id, Event.STARTED, Event.ANSWERED, Event.STOP, Event.OFF)
    with ctx.db.write() as session:
        session.get_one(Machine, made.id).wants_running = False
    projects.set_quota(ctx, admin, "alice", {"image_gib": 0})
    with refused("quota_exceeded"):
        saving.save(ctx, alice, made.id, NewSave("base"))
    projects.set_quota(ctx, admin, "alice", {"image_gib": 1})
    saving.save(ctx, alice, made.id, NewSave("base"))
    assert used(ctx, alice) == (1, 1)


def test_of_many_at_once_one_has_the_last_of_it(ctx: Context, admin: Caller, alice: Caller, bob: Caller) -> None:
    """Of two people, so that it is not the count of each that refuses."""
    projects.create(ctx, alice, "arms")
    projects.set_member(ctx, alice, "arms", "bob", "member")
    projects.set_quota(ctx, admin, "arms", {"image_gib": 1})

    def ask(number: int) -> bool:
        wanted = replace(MINE, name=f"mine-{number}", visibility="project", project="arms")
        try:
            image_tasks.bring(ctx, (alice, bob)[number % 2], wanted)
        except GarageError as error:
            assert error.code == "quota_exceeded"
            return False
        return True

    with ThreadPoolExecutor(8) as crowd:
        assert sum(crowd.map(ask, range(8))) == 1


# --- whose turn it is --------------------------------------------------------------------------------------------------


def next_one(ctx: Context) -> Task | None:
    return image_tasks.claim(ctx, "server/1")


def service(ctx: Context, owner: Caller, project: str, name: str) -> Caller:
    service_accounts.create(ctx, owner, project, name)
    with ctx.db.read() as session:
        return Caller(session.scalars(select(User.id).where(User.name == name)).one(), name)


def test_people_take_turns_and_nobody_has_two_under_way(ctx: Context, clock: Clock, alice: Caller, bob: Caller) -> None:
    for who, name in ((alice, "first"), (alice, "second"), (alice, "third"), (bob, "mine")):
        image_tasks.bring(ctx, who, replace(MINE, name=name))
        clock.forward(1)
    first = claimed(ctx)
    clock.forward(1)
    mine = claimed(ctx)
    assert (first.name, mine.name) == ("first", "mine"), "not hers twice while he waits"
    assert next_one(ctx) is None, "hers go one after another"
    image_tasks.bring(ctx, bob, replace(MINE, name="later"))
    image_tasks.done(ctx, mine, manifest())
    image_tasks.failed(ctx, first, GarageError("image_refused", "no", why="sha256"))
    clock.forward(1)
    assert claimed(ctx).name == "second", "it is longer ago that she was served"
    assert [task and task.name for task in (next_one(ctx), next_one(ctx))] == ["later", None]


def test_nobody_gets_to_the_front_by_calling_off_and_asking_again(
    ctx: Context, clock: Clock, alice: Caller, bob: Caller
) -> None:
    def served() -> Task:
        clock.forward(1)
        return claimed(ctx)

    image_tasks.bring(ctx, alice, MINE)
    clock.forward(1)
    image_tasks.bring(ctx, bob, replace(MINE, name="his"))
    assert served().name == "mine"
    image_tasks.cancel(ctx, alice, "mine")
    image_tasks.bring(ctx, alice, MINE)
    assert served().name == "his"
    again = served()
    assert again.name == "mine"
    image_tasks.failed(ctx, again, GarageError("image_refused", "no", why="sha256"))
    image_tasks.cancel(ctx, bob, "his")
    image_tasks.bring(ctx, alice, MINE)  # forgets the failed one
    clock.forward(1)
    projects.create(ctx, alice, "newer")
    image_tasks.bring(ctx, alice, replace(MINE, name="for-newer", visibility="project", project="newer"))
    robot = service(ctx, alice, "newer", "robot")
    image_tasks.bring(ctx, robot, replace(MINE, name="robots"))
    image_tasks.bring(ctx, bob, replace(MINE, name="his"))
    assert served().name == "his", "neither what she has asked again nor a project that was made since comes before"


def test_a_project_has_one_under_way_whoever_asks_for_it(
    ctx: Context, clock: Clock, alice: Caller, bob: Caller
) -> None:
    clock.forward(1)
    projects.create(ctx, alice, "arms")
    for name in ("robot-1", "robot-2"):
        image_tasks.bring(ctx, service(ctx, alice, "arms", name), replace(MINE, name=name))
        clock.forward(1)
    image_tasks.bring(ctx, alice, replace(MINE, visibility="project", project="arms"))
    image_tasks.bring(ctx, bob, replace(MINE, name="his"))
    names = [task and task.name for task in (next_one(ctx), next_one(ctx), next_one(ctx))]
    assert names == ["his", "robot-1", None], "the newest project is behind his, and its others wait for its first"


def test_a_disk_that_is_slow_to_read_holds_up_nobody_else(
    ctx: Context, alice: Caller, bob: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real threads; alice's ends when she calls it off."""
    stop, begun = threading.Event(), threading.Event()

    def make_image(order: Order, *, told: Told, **_: object) -> Manifest:
        if order.name == "slow":
            begun.set()
            while not stop.wait(0.02):
                told("convert", 0, 0)
        return of_bytes(1000)

    monkeypatch.setattr(importing, "make_image", make_image)
    monkeypatch.setattr(importing, "LOOK", 0.02)
    monkeypatch.setattr(importing, "TELL", 0.0)
    image_tasks.bring(ctx, alice, replace(MINE, name="slow"))
    Importer(ctx, ctx.config).start(stop)
    try:
        assert begun.wait(60)
        image_tasks.bring(ctx, bob, MINE)
        wait_until(lambda: image_tasks.get(ctx, bob, "mine").state == "done", 60)
        assert image_tasks.get(ctx, alice, "slow").state == "running"
        image_tasks.cancel(ctx, alice, "slow")
        image_tasks.bring(ctx, alice, replace(MINE, name="quick"))
        wait_until(lambda: not image_tasks.get(ctx, alice, "quick").busy, 60)
    finally:
        stop.set()


def test_one_build_at_a_time(ctx: Context, admin: Caller, alice: Caller) -> None:
    """They share a folder: a second one would only hold up those behind it."""
    chief = replace(alice, admin=True)
    for who, name in ((admin, "a"), (chief, "b")):
        image_tasks.build(
            ctx, who, f'name = "{name}"\ntitle = "T"\nsuite = "bookworm"\npackages = ["dash"]\nsources = ""\n'
        )
    found = claimed(ctx)
    assert next_one(ctx) is None
    image_tasks.done(ctx, found, manifest())
    assert next_one(ctx) is not None
