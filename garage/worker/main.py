"""The worker process: its beat, its part of the nodes, and a loop for each of them on few threads."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from garage.config import Config
from garage.core.sharing import share
from garage.core.types import NodeAccess
from garage.db.session import ChangeWatch
from garage.errors import GarageError
from garage.services import crew, work
from garage.services.context import Context
from garage.services.crew import Mark, Post
from garage.services.work import Hold
from garage.worker import backends
from garage.worker.chores import Chores
from garage.worker.housekeeping import Housekeeper
from garage.worker.loop import NodeLoop
from garage.worker.naming import NameTeller
from garage.worker.ownership import Heart, Pulse
from garage.worker.recorder import Recorder
from garage.worker.sealer import Sealer
from garage.worker.seeding import seed_files, take
from garage.worker.shop import Backend, Shop
from garage.worker.turns import Crowd, Turns
from garage.worker.watchman import Watchman

log = logging.getLogger(__name__)
POLL = 0.05
"""Seconds between looks at whether anybody committed."""
CLOSING = 32
"""Connections that are closed at the same time."""
OpenBackend = Callable[[NodeAccess, Config, Callable[[], None]], Backend]


def run(
    ctx: Context, config: Config, stop: threading.Event, *, open_backend: OpenBackend = backends.open_backend
) -> None:
    """Work until `stop` is set; returns when what was begun has ended. Machines go on without a worker."""
    work.set_parked(ctx, False)
    pulse = Pulse(ctx)
    pulse.turn()
    heart, sealer = Heart(pulse), Sealer(ctx)
    watchman = Watchman(ctx)
    foreman = Foreman(ctx, config, pulse, watchman, open_backend)
    _watch(ctx, foreman, watchman, stop)
    foreman.end()
    sealer.end()
    heart.end()
    pulse.leave(foreman.nodes)
    foreman.close()


@dataclass(eq=False, slots=True)
class Held:
    """A node of ours, with its loop and its outside world."""

    hold: Hold
    access: NodeAccess
    loop: NodeLoop
    backend: Backend
    revision: int
    ending: bool = False


class Foreman:
    """Keeps the loops of this worker's nodes in step with the database. Used by one thread."""

    def __init__(
        self, ctx: Context, config: Config, pulse: Pulse, watchman: Watchman, open_backend: OpenBackend
    ) -> None:
        self._ctx, self._config, self._pulse, self._open = ctx, config, pulse, open_backend
        self._turns, self._crowd, self._recorder = Turns(), Crowd(), Recorder(ctx)
        self._shop = Shop(
            ctx,
            self._recorder,
            self._crowd,
            Chores(ctx, time.monotonic),
            pulse.sure,
            partial(seed_files, ctx),
            partial(take, ctx),
            lambda: watchman.verdict,
        )
        self._closers = ThreadPoolExecutor(CLOSING, thread_name_prefix="close")
        self._held: dict[str, Held] = {}
        self._who, self._live = "", dict[str, str]()
        self._marks: dict[str, Mark] = {}
        self._posts: dict[str, Post] = {}
        self._part: frozenset[str] = frozenset()
        """The nodes that should be ours, as all workers reckon it."""
        self._others: frozenset[str] = frozenset()
        """And those that should be another's."""
        self._unreachable: dict[str, NodeAccess] = {}
        """What could not even be tried, until it is to be reached another way."""

    @property
    def nodes(self) -> list[str]:
        return list(self._held)

    def due(self) -> bool:
        """There is a reason for `look` that is no commit: the workers have changed, or a node can be handed over."""
        if self._pulse.live is not self._live or self._pulse.id != self._who:
            return True
        return any(held.ending and held.loop.idle() for held in self._held.values())

    def look(self) -> None:
        """Take what is ours and free, hand over what is another's, drop what was taken or removed, tell loops whose rows changed."""
        workers_changed = (self._who, self._live) != (who := self._pulse.id, live := self._pulse.live)
        self._who, self._live = who, live
        changed, reach_changed = self._read()
        for name in self.nodes if workers_changed else changed & self._held.keys():
            self._follow(name, self._held[name])
        if not who:
            return
        if workers_changed or reach_changed:
            self._share()
        self._hand_over([held for name, held in self._held.items() if held.ending or name in self._others])
        self._take(self._part if workers_changed or reach_changed else self._part & changed)

    def _read(self) -> tuple[set[str], bool]:
        """(the nodes whose rows changed since the last time, whether nodes came, went, or are reached another way)."""
        marks = crew.marks(self._ctx)
        changed = {name for name, mark in marks.items() if self._marks.get(name) != mark}
        gone = self._marks.keys() - marks.keys()
        reach_changed = bool(gone)
        for name in gone:
            self._posts.pop(name, None)
        for post in crew.posts(self._ctx, changed) if changed else ():
            before = self._posts.get(post.access.name)
            reach_changed |= before is None or before.access != post.access
            self._posts[post.access.name] = post
        self._marks = marks
        return changed | gone, reach_changed

    def _share(self) -> None:
        shared = share({name: _home(post.access) for name, post in self._posts.items()}, self._live)
        self._part = frozenset(name for name, worker in shared.items() if worker == self._who)
        self._others = frozenset(shared) - self._part

    def _take(self, names: Iterable[str]) -> None:
        """Those that nobody at work owns; also those that we own without a loop, because something failed in between."""
        posts = [self._posts[name] for name in names if name in self._posts and name not in self._held]
        posts = [post for post in posts if self._unreachable.get(post.access.name) != post.access]
        free = [post.access.name for post in posts if post.owner not in self._live]
        holds = [Hold(p.access.name, p.owner, p.epoch) for p in posts if p.owner == self._who]
        for hold in holds + (crew.take(self._ctx, self._who, free) if free else []):
            self._begin(hold, self._posts[hold.node])

    def begin_anew(self) -> None:
        """A look has failed half-way: the next one takes nothing for known."""
        self._marks, self._who = {}, ""

    def end(self) -> None:
        """Begin nothing any more; returns when what was begun has ended. The nodes are still ours."""
        for held in self._held.values():
            held.loop.end()
        while not all(held.loop.idle() for held in self._held.values()):
            time.sleep(POLL / 5)

    def close(self) -> None:
        """Let go of everything."""
        for name in self.nodes:
            self._drop(name)
        self._closers.shutdown()
        self._turns.close()
        self._crowd.close()
        self._recorder.close()

    def _follow(self, name: str, held: Held) -> None:
        post = self._posts.get(name)
        if post is None or not _still(held.hold, post, self._who):
            self._drop(name)
            return
        if held.revision != post.revision:
            held.revision = post.revision
            held.loop.changed(post.revision)
        if held.access != post.access:
            held.ending = True  # it is reached another way now: begin anew

    def _hand_over(self, surplus: list[Held]) -> None:
        """At once, or as soon as nothing runs any more."""
        for held in surplus:
            held.ending = True
            held.loop.end()
        if ready := [held.hold.node for held in surplus if held.loop.idle()]:
            crew.release(self._ctx, self._who, ready)
            for name in ready:
                self._drop(name)

    def _begin(self, hold: Hold, post: Post) -> None:
        box: list[NodeLoop] = []  # the backend rings for the loop, and exists before it

        def wake() -> None:
            if box:
                self._turns.wake(box[0])

        try:
            backend = self._open(post.access, self._config, wake)
        except GarageError as error:
            log.warning("%s: %s", hold.node, error)
            work.record_away(self._ctx, hold, str(error))
            crew.release(self._ctx, hold.owner, [hold.node])
            self._unreachable[hold.node] = post.access
            return
        loop = NodeLoop(self._shop, hold, backend, wake)
        box.append(loop)
        self._held[hold.node] = Held(hold, post.access, loop, backend, post.revision)
        self._turns.add(loop)

    def _drop(self, name: str) -> None:
        """It is ours no longer; what still runs for it may not act."""
        held = self._held.pop(name)
        held.loop.end()
        self._turns.remove(held.loop)
        self._closers.submit(_close, held.backend)


def _still(hold: Hold, post: Post, who: str) -> bool:
    return (post.owner, post.epoch) == (hold.owner, hold.epoch) and hold.owner == who


def _home(access: NodeAccess) -> str:
    """The only home whose workers reach the node: what has no address is its workers' own server, unless it is simulated."""
    return "" if access.address or access.hypervisor.startswith("fake:") else access.name


def _close(backend: Backend) -> None:
    try:
        backend.prober.close()
        backend.hypervisor.close()
    except Exception:
        log.exception("a connection was not closed")


def _watch(ctx: Context, foreman: Foreman, watchman: Watchman, stop: threading.Event) -> None:
    """Have the foreman look when anybody committed or the workers changed, and look for all nodes' signs of life, until `stop`."""
    watch: ChangeWatch | None = None
    stale = True
    housekeeper, names = Housekeeper(ctx), NameTeller(ctx)
    while not stop.wait(POLL):
        try:
            watch = watch or ChangeWatch(ctx.db)
            stale = watch.changed() or stale
            if stale or foreman.due():
                foreman.look()
                stale = False
            watchman.turn()
            names.turn()
            housekeeper.turn()
        except Exception as error:  # noqa: BLE001  (a database that is away must not end the worker)
            log.warning("the database does not answer: %s", error)
            watch, stale = None, True
            foreman.begin_anew()
            stop.wait(1.0)
