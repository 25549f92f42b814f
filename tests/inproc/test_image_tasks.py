"""Images that people bring: who may use which, what is refused beforehand, and how one on its way ends."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select

from garage.core.pool import Cold
from garage.db.models import Image, Machine
from garage.errors import GarageError
from garage.services import image_tasks, image_views, images, machines, pool_views, projects
from garage.services.context import Caller, Context
from garage.services.image_tasks import NewImage, Task
from garage.services.machines import NewMachine
from tests.conftest import Clock

HEX = "12" * 32
MINE = NewImage("mine", HEX, url="https://example.org/disk.qcow2")
WORKER = "server/1"


def manifest(sha256: str = "34" * 32, **more: object) -> dict[str, object]:
    return {"sha256": sha256, "initrd": "own", "boot": "bios", "bytes": 1000, "virtual_bytes": 1 << 30, **more}


def brought(ctx: Context, who: Caller, wanted: NewImage = MINE, **more: object) -> images.ImageView:
    """As if a worker had brought it."""
    image_tasks.bring(ctx, who, wanted)
    task = image_tasks.claim(ctx, WORKER)
    assert task is not None
    image_tasks.done(ctx, task, manifest(**more))
    return images.get(ctx, who, wanted.name)


class refused:
    """What is in the block is refused with that code, of that field."""

    def __init__(self, code: str, pointer: str = "") -> None:
        self._code, self._pointer = code, pointer

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: object, _trace: object) -> bool:
        assert isinstance(error, GarageError), "it was taken"
        assert (error.code, error.pointer) == (self._code, self._pointer or error.pointer)
        return True


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        *(({"name": name}, "/name") for name in ("", "A", "a/b", "-a", "a" * 65, "ä")),
        *(({"sha256": text}, "/sha256") for text in ("", "12", "x" * 64)),
        *(({"url": url}, "/url") for url in ("ftp://example.org/x", "file:///etc/shadow", "https://a:b@example.org/", "http://", "x")),
        *(({"url": f"https://{host}/"}, "/url") for host in ("a b", "a\\b", "ex..org", "[::1", "a:99999")),
        ({"url": "", "bytes": 0}, "/bytes"),
        ({"bytes": 5}, "/url"),
        ({"url": "", "bytes": -1}, "/bytes"),
        ({"url": "", "bytes": 1 << 60}, "/bytes"),
        ({"visibility": "world"}, "/visibility"),
        ({"format": "vmdk"}, "/format"),
        ({"boot": "pxe"}, "/boot"),
    ],
)  # fmt: skip
def test_what_can_be_known_beforehand_is_refused_beforehand(
    ctx: Context, alice: Caller, wrong: dict[str, object], pointer: str
) -> None:
    with refused("invalid_field", pointer):
        image_tasks.bring(ctx, alice, replace(MINE, **wrong))  # type: ignore[arg-type]
    assert image_tasks.listing(ctx, alice) == []


def test_an_image_for_oneself_is_nobody_elses(ctx: Context, admin: Caller, alice: Caller, bob: Caller) -> None:
    made = brought(ctx, alice)
    assert (made.visibility, made.owner, made.mine, made.current, made.boot) == ("own", "alice", True, True, "bios")
    assert [image.name for image in image_views.page(ctx, bob).items] == ["debian-12"]
    assert "mine" in [image.name for image in image_views.page(ctx, admin).items]
    for action in (images.get, images.delete):
        with refused("not_found"):
            action(ctx, bob, made.id)
    with refused("invalid_field", "/image"):
        machines.create(ctx, bob, NewMachine(image="mine"))
    assert machines.create(ctx, alice, NewMachine(name="one", image="mine")).image == "mine"


def test_an_image_of_a_project_is_its_members(ctx: Context, alice: Caller, bob: Caller) -> None:
    projects.create(ctx, alice, "arms")
    made = brought(ctx, alice, replace(MINE, visibility="project", project="arms"))
    with refused("not_found"):
        images.get(ctx, bob, made.id)
    projects.set_member(ctx, alice, "arms", "bob", "member")
    assert images.get(ctx, bob, "mine").project == "arms"
    with refused("forbidden"):
        images.delete(ctx, bob, made.id)
    projects.delete(ctx, alice, "arms")
    assert images.get(ctx, alice, "mine").visibility == "own"
    with refused("not_found"):
        images.get(ctx, bob, made.id)


def test_nobody_takes_the_name_of_an_image_that_others_boot(ctx: Context, alice: Caller, bob: Caller) -> None:
    with refused("already_exists", "/name"):
        image_tasks.bring(ctx, alice, replace(MINE, name="debian-12"))
    brought(ctx, alice)
    brought(ctx, bob, sha256="56" * 32)  # another's private one is no obstacle, and is not told of
    assert images.share(ctx, alice, "mine", "all", None).visibility == "all"
    with refused("already_exists"):
        images.share(ctx, bob, images.get(ctx, bob, "56" * 32).id, "all", None)
    assert images.get(ctx, bob, "mine").owner == "bob"
    made = machines.create(ctx, bob, NewMachine(image="mine"))
    with ctx.db.read() as session:
        assert session.scalar(select(Image.sha256).join(Machine).where(Machine.id == made.id)) == "56" * 32


@pytest.mark.parametrize("visibility", ["own", "all"])
def test_the_same_bytes_take_nothing_from_whoever_has_them(
    ctx: Context, admin: Caller, alice: Caller, bob: Caller, visibility: str
) -> None:
    """Stored files differ by their tasks' ids; a manifest that is another's all the same changes nothing of theirs."""
    made = brought(ctx, alice, replace(MINE, visibility=visibility))
    garages = images.get(ctx, alice, "debian-12")
    recipe = 'name = "built"\ntitle = "T"\nsuite = "bookworm"\npackages = ["dash"]\nsources = ""\n'
    for who, sha256 in ((bob, made.sha256), (bob, garages.sha256), (admin, made.sha256)):
        if who is admin:
            image_tasks.build(ctx, admin, recipe)
        else:
            image_tasks.bring(ctx, bob, replace(MINE, name="theirs"))
        task = claimed(ctx)
        with refused("already_exists"):
            image_tasks.done(ctx, task, manifest(sha256))
        assert not image_tasks.is_nobodys(ctx, task, sha256), "the files are its owner's, and stay"
        image_tasks.failed(ctx, task, GarageError("already_exists", "no"))
    with refused("already_exists"):
        images.register(ctx, "mine", made.sha256, manifest())
    assert images.get(ctx, alice, made.id) == made
    assert images.get(ctx, alice, "debian-12") == garages
    assert "own" not in {image.visibility for image in image_views.page(ctx, bob).items}
    assert brought(ctx, alice, replace(MINE, visibility=visibility)).id == made.id, "her own she brings again"


def test_a_newer_one_takes_its_place_and_one_in_use_stays(ctx: Context, alice: Caller) -> None:
    first = brought(ctx, alice)
    made = machines.create(ctx, alice, NewMachine(image="mine"))
    second = brought(ctx, alice, sha256="56" * 32)
    assert second.current
    assert not images.get(ctx, alice, first.id).current
    with refused("in_use"):
        images.delete(ctx, alice, first.id)
    images.delete(ctx, alice, second.id)
    with refused("invalid_field", "/image"):
        machines.create(ctx, alice, NewMachine(image="mine"))
    assert images.condemned(ctx, [first.sha256, second.sha256, "ab" * 32]) == [second.sha256]
    machines.delete(ctx, alice, made.id)
    with refused("in_use"):
        images.delete(ctx, alice, first.id)
    with ctx.db.write() as session:
        session.get_one(Machine, made.id).state = "gone"
    images.delete(ctx, alice, first.id)
    assert images.condemned(ctx, [first.sha256, second.sha256]) == sorted([first.sha256, second.sha256])


def test_the_garages_own_image_is_an_admins(ctx: Context, admin: Caller, alice: Caller) -> None:
    with refused("forbidden"):
        images.delete(ctx, alice, "debian-12")
    with refused("forbidden"):
        images.share(ctx, admin, "debian-12", "own", None)
    with refused("forbidden"):
        image_tasks.build(ctx, alice, "name = 'x'")
    images.delete(ctx, admin, "debian-12")
    assert image_views.page(ctx, alice).items == []


def test_a_machines_disk_has_room_for_its_image(ctx: Context, alice: Caller) -> None:
    brought(ctx, alice, virtual_bytes=31 << 30)
    with refused("invalid_field", "/size"):
        machines.create(ctx, alice, NewMachine(image="mine", size="tiny"))


def test_a_brought_image_boots_cold_and_says_why(ctx: Context, admin: Caller, alice: Caller) -> None:
    ctx = replace(ctx, config=replace(ctx.config, pool_ram_share=0.25))
    brought(ctx, alice)
    assert machines.create(ctx, alice, NewMachine(image="mine", size="tiny")).cold_reason == Cold.IMAGE
    assert {view.image for view in pool_views.listing(ctx, admin)} <= {"debian-12"}
    with refused("not_found"):
        pool_views.fix(ctx, admin, "mine", "tiny", 1)


def test_so_many_are_on_their_way_at_once_and_no_more(ctx: Context, alice: Caller) -> None:
    for number in range(image_tasks.AT_ONCE):
        image_tasks.bring(ctx, alice, replace(MINE, name=f"mine-{number}"))
    with refused("quota_exceeded"):
        image_tasks.bring(ctx, alice, MINE)
    image_tasks.cancel(ctx, alice, "mine-0")
    image_tasks.bring(ctx, alice, MINE)


def claimed(ctx: Context) -> Task:
    task = image_tasks.claim(ctx, WORKER)
    assert task is not None
    return task


def test_a_dead_workers_task_goes_on_and_its_late_word_is_refused(ctx: Context, clock: Clock, alice: Caller) -> None:
    image_tasks.bring(ctx, alice, MINE)
    first = claimed(ctx)
    assert image_tasks.claim(ctx, "server/2") is None
    clock.forward(image_tasks.DEAD_AFTER + 1)
    second = image_tasks.claim(ctx, "server/2")
    assert second is not None
    for late in (
        lambda: image_tasks.progress(ctx, first, "fetch", 1, 2),
        lambda: image_tasks.done(ctx, first, manifest()),
    ):
        with refused("version_conflict"):
            late()
    assert image_tasks.claim(ctx, "server/3", ended=lambda worker: worker == "server/2") is not None


def test_what_was_called_off_is_never_registered(ctx: Context, alice: Caller, bob: Caller) -> None:
    made = image_tasks.bring(ctx, alice, MINE)
    with refused("not_found"):
        image_tasks.cancel(ctx, bob, made.id)
    task = claimed(ctx)
    image_tasks.cancel(ctx, alice, "mine")
    with refused("version_conflict"):
        image_tasks.progress(ctx, task, "convert", 1, 2)
    with refused("version_conflict"):
        image_tasks.done(ctx, task, manifest())
    assert [image.name for image in image_views.page(ctx, alice).items] == ["debian-12"]


def test_a_failure_is_kept_until_the_next_attempt(ctx: Context, alice: Caller) -> None:
    image_tasks.bring(ctx, alice, MINE)
    image_tasks.failed(ctx, claimed(ctx), GarageError("image_refused", "no", why="sha256"))
    [view] = image_tasks.listing(ctx, alice)
    assert (view.state, view.busy, (view.error or {})["code"]) == ("failed", False, "image_refused")
    image_tasks.bring(ctx, alice, MINE)
    assert [view.state for view in image_tasks.listing(ctx, alice)] == ["waiting"]


def test_an_upload_waits_for_its_last_byte_and_not_for_ever(ctx: Context, clock: Clock, alice: Caller) -> None:
    made = image_tasks.bring(ctx, alice, NewImage("mine", HEX, bytes=10))
    assert image_tasks.uploading(ctx, alice, "mine") == (made.id, 10)
    image_tasks.uploaded(ctx, made.id, 4)
    assert image_tasks.claim(ctx, WORKER) is None
    image_tasks.uploaded(ctx, made.id, 10)
    assert claimed(ctx).id == made.id
    with refused("wrong_state"):
        image_tasks.uploading(ctx, alice, "mine")
    image_tasks.bring(ctx, alice, NewImage("other", HEX, bytes=10))
    clock.forward(image_tasks.UPLOAD_SECONDS + 1)
    image_tasks.prune(ctx)
    assert [view.name for view in image_tasks.listing(ctx, alice)] == ["mine"]


def test_a_damaged_image_is_named_and_not_used(ctx: Context, clock: Clock, alice: Caller) -> None:
    made = brought(ctx, alice)
    present = {made.sha256, "ab" * 32}
    assert images.to_verify(ctx, present) is None
    clock.forward(images.OLD + 1)
    first = images.to_verify(ctx, present)
    assert first in present
    assert images.to_verify(ctx, set()) is None
    images.verified(ctx, made.sha256, damaged="disk.qcow2")
    assert images.get(ctx, alice, "mine").damaged
    with refused("invalid_field", "/image"):
        machines.create(ctx, alice, NewMachine(image="mine"))
    images.verified(ctx, "ab" * 32)
    assert images.to_verify(ctx, present) is None
