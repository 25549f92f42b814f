"""Several workers and one simulated fleet: who works on what, what a commit costs, and what the dead and the stopped may still do."""

from __future__ import annotations

import fcntl
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, func, select, update

from garage.config import Config
from garage.core.states import State
from garage.core.types import NodeAccess
from garage.db.models import Machine, Node
from garage.db.session import Database
from garage.services import crew, fleet, setup
from garage.services.context import Caller, Context, audit
from garage.services.crew import Post
from garage.shell.fake_hypervisor import FakeHypervisor
from garage.shell.fake_node import FakeDisks, FakeProber
from garage.worker.main import run
from garage.worker.shop import Backend
from tests.fleet_worker import fleet_context

ROOT = Path(__file__).parents[2]


def eventually(true: Callable[[], bool], seconds: float = 30.0) -> None:
    begun = time.monotonic()
    while not true():
        assert time.monotonic() - begun < seconds
        time.sleep(0.02)


@dataclass
class World:
    """The nodes' outside world, which outlives workers."""

    ctx: Context
    fakes: dict[str, FakeHypervisor]
    opened: list[str]

    def open(self, access: NodeAccess, config: Config, notify: Callable[[], None]) -> Backend:
        self.opened.append(access.name)
        fake = self.fakes.setdefault(access.name, FakeHypervisor())
        return Backend(fake, FakeDisks(fake), FakeProber(fake, notify), lambda _: True)

    @contextmanager
    def worker(self) -> Iterator[None]:
        """A whole worker on a thread, with a database connection of its own."""
        ctx, stop = replace(self.ctx, db=Database(self.ctx.config.sqlalchemy_url)), threading.Event()
        thread = threading.Thread(target=run, args=(ctx, ctx.config, stop), kwargs={"open_backend": self.open})
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(30)
            ctx.db.close()
            assert not thread.is_alive()

    def posts(self) -> list[Post]:
        return crew.posts(self.ctx, list(crew.marks(self.ctx)))

    def owners(self) -> Counter[str]:
        return Counter(post.owner for post in self.posts())

    def settled(self, workers: int) -> Callable[[], bool]:
        """Every node is owned, fairly, by that many."""

        def check() -> bool:
            found = self.owners()
            return len(found) == workers and "" not in found and max(found.values()) - min(found.values()) <= 1

        return check

    def states(self) -> Counter[str]:
        with self.ctx.db.read() as session:
            query = select(Machine.state, func.count()).group_by(Machine.state)
            return Counter(dict(session.execute(query).all()))


@pytest.fixture
def world(ctx: Context, admin: Caller) -> World:
    ctx = replace(ctx, clock=time.time)
    with ctx.db.write() as session:
        session.delete(session.get_one(Node, ctx.config.node))
    fleet.add_nodes(ctx, 20)
    return World(ctx, {}, [])


def test_workers_share_a_fleet_and_hand_over_when_one_comes_or_goes(world: World) -> None:
    with world.worker():
        eventually(world.settled(1))
        alone = {post.access.name: post for post in world.posts()}
        with world.worker():
            eventually(world.settled(2))
            both = {post.access.name: post for post in world.posts()}
            moved = {name for name in both if both[name].owner != alone[name].owner}
            assert len(moved) == 10
            assert all(both[name].epoch == alone[name].epoch + (name in moved) for name in both)
        eventually(world.settled(1))
        assert {post.owner for post in world.posts()} == {alone["sim1"].owner}
    assert set(world.owners()) == {""}
    assert crew.mates(world.ctx) == []


def test_nodes_that_come_and_go_are_noticed_by_the_commit_alone(world: World) -> None:
    """Nothing else makes a worker look: it never asks by the clock."""
    with world.worker():
        eventually(world.settled(1))
        fleet.add_nodes(world.ctx, 25)
        eventually(world.settled(1))
        with world.ctx.db.write() as session:
            session.delete(session.get_one(Node, "sim25"))
        fleet.add_machines(world.ctx, 24, [f"sim{n}" for n in range(1, 25)], state=State.PREPARING)
        eventually(lambda: world.states()["ready"] == 24)
        with world.ctx.db.write() as session:
            session.get_one(Node, "sim3").hypervisor = "fake://?vcpus=9"
        eventually(lambda: world.opened.count("sim3") == 2)
        eventually(world.settled(1))


def test_a_commit_makes_nobody_reload_but_the_node_that_it_concerns(world: World) -> None:
    loads: list[str] = []
    fleet.add_machines(world.ctx, 40, [f"sim{n}" for n in range(1, 21)], state=State.STOPPED)
    with world.ctx.db.write() as session:
        session.execute(update(Machine).values(wants_running=False))

    def hear(_c: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        if "FROM machine LEFT OUTER JOIN project" in statement and "machine.node = " in statement:
            values = parameters.values() if isinstance(parameters, dict) else parameters  # by the driver's style
            loads.append(str(next(iter(values))))  # type: ignore[call-overload]

    event.listen(Engine, "before_cursor_execute", hear)
    try:
        with world.worker():
            eventually(lambda: len(set(loads)) == 20)
            time.sleep(0.3)
            loads.clear()
            for number in range(5):
                with world.ctx.db.write() as session:
                    audit(session, world.ctx, "tests", "nothing", str(number))
                time.sleep(0.1)
            assert loads == []
            with world.ctx.db.write() as session:
                session.scalars(select(Machine).where(Machine.node == "sim7")).first().wants_running = True
            eventually(lambda: world.states()["ready"] == 1)
            assert set(loads) == {"sim7"}
    finally:
        event.remove(Engine, "before_cursor_execute", hear)


def test_nodes_that_hang_hold_up_nobody(world: World) -> None:
    gate = threading.Event()

    class Hung(FakeHypervisor):
        def observe(self) -> dict[str, object]:  # type: ignore[override]
            gate.wait(60)
            return {}

    names = [f"sim{n}" for n in range(1, 21)]
    for name in names[:10]:
        world.fakes[name] = Hung()
    fleet.add_machines(world.ctx, 20, names, state=State.PREPARING)
    with world.worker():
        try:
            eventually(lambda: world.states()["ready"] == 10, 5.0)
        finally:
            gate.set()
        eventually(lambda: world.states()["ready"] == 20)


@dataclass
class Fleet:
    """A fleet whose workers are processes; its nodes are files."""

    ctx: Context
    folder: Path
    stack: ExitStack

    def worker(self, home: str) -> subprocess.Popen[bytes]:
        """Workers with another home are on another server, as far as they can see."""
        argv = [sys.executable, "-m", "tests.fleet_worker", str(self.folder / home), self.ctx.config.sqlalchemy_url]
        process = subprocess.Popen([*argv, str(self.journal)], cwd=ROOT)
        self.stack.callback(self._end, process)
        return process

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()

    @property
    def journal(self) -> Path:
        return self.folder / "journal"

    def lines(self, pid: int) -> list[str]:
        """What a process began."""
        lines = self.journal.read_text().splitlines() if self.journal.exists() else []
        return [line for line in lines if line.split()[1] == str(pid)]

    def owned_by(self) -> dict[str, set[str]]:
        """pid → nodes."""
        found: dict[str, set[str]] = {}
        for post in crew.posts(self.ctx, list(crew.marks(self.ctx))):
            found.setdefault(post.owner.split("/")[2] if post.owner else "", set()).add(post.access.name)
        return found

    def ready(self) -> int:
        with self.ctx.db.read() as session:
            return session.scalar(select(func.count()).where(Machine.state == State.READY.value)) or 0


@pytest.fixture
def processes(tmp_path: Path, empty_database: Path) -> Iterator[Fleet]:
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / "garage.db").write_bytes(empty_database.read_bytes())
    ctx = fleet_context(tmp_path, f"sqlite:///{tmp_path}/db/garage.db")
    setup.seed(ctx, admin="root-admin", node_token="token")
    with ctx.db.write() as session:
        session.delete(session.get_one(Node, ctx.config.node))
    with ExitStack() as stack:
        yield Fleet(ctx, tmp_path, stack)
    ctx.db.close()


@pytest.mark.parametrize("homes", [("one", "two"), ("one", "one")])
def test_the_nodes_of_a_killed_worker_go_on(processes: Fleet, homes: tuple[str, str]) -> None:
    """`recovery.worker` measures how soon."""
    nodes = fleet.add_nodes(processes.ctx, 6, fleet.Model(folder=str(processes.folder / "nodes")))
    one, two = (processes.worker(home) for home in homes)
    eventually(
        lambda: len(processes.owned_by().get(str(one.pid), ())) == len(processes.owned_by().get(str(two.pid), ())) == 3
    )
    one.kill()
    fleet.add_machines(processes.ctx, 6, nodes, state=State.PREPARING)
    eventually(lambda: processes.owned_by().keys() == {str(two.pid)})
    eventually(lambda: processes.ready() == 6)


def threads_of(pid: int) -> list[Path]:
    """Their `stat` (proc_pid_stat(5)); a signal stops them one after the other."""
    return list(Path(f"/proc/{pid}/task").glob("*/stat"))


def stop_between_writes(processes: Fleet, pid: int) -> None:
    """SQLite lets nobody write while a process is stopped in its transaction, nor does a simulated node's file; what is tested is how
    workers do without each other."""
    while True:
        os.kill(pid, signal.SIGSTOP)
        eventually(lambda: all(path.read_text().rpartition(")")[2].split()[0] == "T" for path in threads_of(pid)))
        try:
            with closing(sqlite3.connect(processes.folder / "db" / "garage.db", timeout=0.2)) as connection:
                connection.execute("BEGIN IMMEDIATE")
            for path in (processes.folder / "nodes").glob("*.lock"):
                with path.open() as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (sqlite3.OperationalError, BlockingIOError):
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.01)
        else:
            return


MANY = 96
"""Machines: more than a worker begins to start between a look at it and its being stopped."""


def test_a_stopped_worker_that_wakes_up_begins_nothing(processes: Fleet) -> None:
    """It has calls in flight and many more to make when it is stopped; when it wakes up, another has done all that.

    A thread that is past its check may still make that one call: no check can be nearer to the wire. All calls are idempotent.
    """
    model = fleet.Model(folder=str(processes.folder / "nodes"), behaviour=(("start", "0.8"),))
    nodes = fleet.add_nodes(processes.ctx, 2, model)
    one, two = processes.worker("one"), processes.worker("two")
    eventually(lambda: {str(one.pid), str(two.pid)} <= processes.owned_by().keys())
    fleet.add_machines(processes.ctx, MANY, nodes, state=State.PREPARING, sizes=("tiny",))
    eventually(lambda: any(" start " in line for line in processes.lines(one.pid)))
    stop_between_writes(processes, one.pid)
    eventually(lambda: processes.owned_by().keys() == {str(two.pid)})
    eventually(lambda: processes.ready() == MANY, 60.0)
    before, started = processes.lines(one.pid), [line for line in processes.lines(one.pid) if " start " in line]
    assert len(started) < MANY / 2, "it had more to do"
    os.kill(one.pid, signal.SIGCONT)
    eventually(lambda: len(processes.owned_by()) == 2)
    time.sleep(1.0)
    late = Counter(line.split()[3] for line in processes.lines(one.pid)[len(before) :])
    assert max(late.values(), default=0) <= 1, "what a thread was about to call, and nothing after it"
    assert len(late) <= 3
    assert processes.ready() == MANY
    for node in nodes:
        fake = FakeHypervisor.from_uri(model.uri(node, 1))
        assert {domain.power.value for domain in fake.observe().values()} == {"running"}
