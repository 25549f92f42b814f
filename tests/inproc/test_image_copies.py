"""Images on their way to nodes: places at sources, killed workers, and a machine that waits for one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from garage.core.copies import PER_SOURCE
from garage.core.hypervisor_types import ImageOrder
from garage.core.types import NodeAccess
from garage.db.models import Image, Node
from garage.db.node_models import NodeImage
from garage.errors import GarageError
from garage.services import copies, crew, nodes
from garage.services.context import Caller, Context
from garage.services.views import CopyView
from garage.services.work import Hold
from garage.worker.images import ImageKeeper
from tests.conftest import Clock

IMAGE = "ab" * 32


def own(ctx: Context, name: str) -> Hold:
    """A node, and the hold on its work."""
    with ctx.db.write() as session:
        if session.get(Node, name) is None:
            session.add(Node(name=name, hypervisor="fake://", address=f"{name}.example.org", facts={}))
    for mate in crew.mates(ctx):
        if mate.server == name:
            crew.bury(ctx, mate)
    who = f"worker of {name} {ctx.new_id()}"
    crew.join(ctx, who, name, name)
    [hold] = crew.take(ctx, who, [name])
    return hold


def row(ctx: Context, node: str) -> NodeImage | None:
    with ctx.db.read() as session:
        return session.get(NodeImage, (node, IMAGE))


@pytest.fixture
def one(ctx: Context, admin: Caller) -> Hold:
    hold = own(ctx, ctx.config.node)
    copies.note(ctx, hold, {IMAGE})
    return hold


def test_what_is_on_a_node_is_known(ctx: Context, one: Hold) -> None:
    there = row(ctx, one.node)
    assert there is not None
    assert there.state == "present"
    copies.note(ctx, one, set())
    assert row(ctx, one.node) is None


def test_each_copy_takes_a_place_at_its_source(ctx: Context, one: Hold, clock: Clock) -> None:
    holds = [own(ctx, f"n{number}") for number in range(PER_SOURCE + 1)]
    errands = [copies.begin(ctx, hold, IMAGE) for hold in holds]
    assert [errand.source.name if errand else None for errand in errands] == [one.node] * PER_SOURCE + [None]
    copies.finish(ctx, holds[0], IMAGE, None)
    errand = copies.begin(ctx, holds[-1], IMAGE)
    assert errand is not None
    assert (errand.source.name, errand.source.address) == ("n0", "n0.example.org"), "who has it serves the next"
    again = copies.begin(ctx, holds[1], IMAGE)
    assert again is not None, "its own earlier attempt is not in its way"


def test_a_copy_of_a_killed_worker_takes_no_place_for_ever(ctx: Context, one: Hold, clock: Clock) -> None:
    for number in range(PER_SOURCE):
        assert copies.begin(ctx, own(ctx, f"n{number}"), IMAGE)
    last = own(ctx, "last")
    assert copies.begin(ctx, last, IMAGE) is None
    clock.forward(copies.ALIVE + 1)
    assert copies.begin(ctx, last, IMAGE) is not None


@pytest.mark.parametrize("trouble", [{"silent_since": 1.0}, {"hypervisor_error": "away"}])
def test_nobody_copies_from_a_node_that_is_away(ctx: Context, one: Hold, trouble: dict[str, object]) -> None:
    with ctx.db.write() as session:
        for key, value in trouble.items():
            setattr(session.get_one(Node, one.node), key, value)
    assert copies.begin(ctx, own(ctx, "two"), IMAGE) is None


def test_an_old_owner_says_nothing_more(ctx: Context, one: Hold) -> None:
    old = own(ctx, "two")
    own(ctx, "two")
    with pytest.raises(GarageError, check=lambda error: error.code == "version_conflict"):
        copies.finish(ctx, old, IMAGE, None)
    assert row(ctx, "two") is None


def test_the_order_says_what_every_file_is_and_how_fast(ctx: Context, one: Hold) -> None:
    object.__setattr__(ctx.config, "image_copy_mbit", {"*": 8, "fast": 80})
    with ctx.db.write() as session:
        image = session.query(Image).filter_by(sha256=IMAGE).one()
        image.manifest = {"sha256": IMAGE, "kernel_sha256": "cd" * 32, "virtual_bytes": 1 << 30, "name": "x"}
    slow, fast = (copies.begin(ctx, own(ctx, name), IMAGE) for name in ("slow", "fast"))
    assert slow is not None
    assert fast is not None
    assert (slow.order.rate, fast.order.rate) == (1_000_000, 10_000_000)
    assert slow.order.files == {"disk.qcow2": IMAGE, "vmlinuz": "cd" * 32}
    assert slow.order.most == (1 << 30) + copies.MARGIN


class Slow:
    """Images of a node that fetches when told, and fails the first time."""

    def __init__(self) -> None:
        self.go, self.tries = threading.Event(), 0

    def present(self) -> frozenset[str]:
        return frozenset()

    def remove(self, image: str) -> None: ...

    def fetch(self, order: ImageOrder, source: NodeAccess, told: Callable[[int, int], None]) -> None:
        self.tries += 1
        if self.tries == 1:
            raise GarageError("network_error", "the line broke")
        told(43, 100)
        assert self.go.wait(10)


def test_a_keeper_fetches_what_is_asked_for_until_it_is_there(
    ctx: Context, one: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("garage.worker.images.AGAIN", 0.01)
    two, slow, rung = own(ctx, "two"), Slow(), threading.Event()
    keeper = ImageKeeper(ctx, slow, rung.set)
    keeper.look(two)
    try:
        _until(lambda: keeper.percent(IMAGE) == 43 and (row(ctx, "two") or NodeImage(done=0)).done == 43)
        there = row(ctx, "two")
        assert there is not None
        assert (there.state, there.source, there.done, there.total) == ("copying", one.node, 43, 100)
        slow.go.set()
        _until(lambda: keeper.percent(IMAGE) == 100)
        there = row(ctx, "two")
        assert there is not None
        assert (there.state, there.error, slow.tries) == ("present", None, 2)
        assert rung.is_set()
    finally:
        slow.go.set()
        keeper.close()


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_nodes_show_what_is_on_its_way(ctx: Context, one: Hold, admin: Caller) -> None:
    two = own(ctx, "two")
    assert copies.begin(ctx, two, IMAGE)
    copies.progress(ctx, two, IMAGE, 43, 100)
    views = {view.name: list(view.copies) for view in nodes.listing(ctx, admin)}
    assert views == {one.node: [], "two": [CopyView("debian-12", one.node, 43, "")]}
    copies.finish(ctx, two, IMAGE, GarageError("network_error", "the line broke"))
    assert nodes.get(ctx, admin, "two").copies == [CopyView("debian-12", "", 43, "network_error")]
    copies.finish(ctx, two, IMAGE, None)
    assert nodes.get(ctx, admin, "two").copies == []
