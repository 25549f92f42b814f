"""One worker with a fake hypervisor and SQLite, whose turns and clocks are moved by hand."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import select

from garage.db.models import Audit, Machine, Node
from garage.services import machines, nodes
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from garage.shell.fake_hypervisor import FakeDisks, FakeHypervisor, FakeProber
from garage.worker.loop import Backend, NodeLoop
from garage.worker.ownership import Keeper, ServerLock
from garage.worker.recorder import Recorder
from netd import wire
from tests.conftest import Clock

NODE = "node1"


@dataclass
class Monotonic:
    """A clock that only tests move."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Rig:
    """One worker, its node and its owner's hands on it."""

    ctx: Context
    clock: Clock
    caller: Caller
    fake: FakeHypervisor
    disks: FakeDisks
    lock: ServerLock
    monotonic: Monotonic = field(default_factory=Monotonic)
    network: bool = True

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """A new worker process, as far as memory is concerned."""
        self.recorder = Recorder(self.ctx)
        self.prober = FakeProber(self.fake, lambda: None)
        self.keeper = Keeper(self.ctx, NODE, self.lock, self.monotonic)
        backend = Backend(self.fake, self.disks, self.prober, lambda _: self.network)
        self.loop = NodeLoop(
            self.ctx,
            NODE,
            self.keeper,
            backend,
            self.recorder,
            lambda _: {"meta-data": b""},
            lambda machine_id: ("take", machine_id.encode()),
            monotonic=self.monotonic,
        )

    def end(self) -> None:
        self.loop.close()
        self.recorder.close()
        self.prober.close()

    def pass_time(self, seconds: float) -> None:
        """Both clocks."""
        self.clock.forward(seconds)
        self.monotonic.now += seconds

    def turn(self) -> None:
        self.loop.changed()
        self.loop.turn()

    def until(self, ref: str, *states: str) -> None:
        """Turns until the machine is in the last of `states`; it may go through nothing else."""
        seen = [self.row(ref).state]
        end = time.monotonic() + 30
        while time.monotonic() < end:
            if seen[-1] == states[-1]:
                self.turn()
                assert set(seen) <= set(states)
                return
            self.turn()
            time.sleep(0.005)
            state = self.row(ref).state
            seen += [state] if state != seen[-1] else []
        raise AssertionError(f"{ref}: {seen}, never {states[-1]}; {self.fake.calls}")

    def settle(self) -> None:
        for _ in range(10):
            self.turn()
            time.sleep(0.005)

    def row(self, ref: str) -> Machine:
        with self.ctx.db.read() as session:
            return session.get_one(Machine, ref)

    def node(self) -> Node:
        with self.ctx.db.read() as session:
            return session.get_one(Node, NODE)

    def netd(self, boot_id: str = "fake-boot") -> None:
        """Play netd: everything is applied."""
        said = wire.Report(node=NODE, applied_version=self.node().spec_version, boot_id=boot_id)
        nodes.report(self.ctx, NODE, said)

    def make(self, name: str = "one") -> str:
        made = machines.create(self.ctx, self.caller, NewMachine(name=name))
        self.netd()
        return made.id

    def ready(self, name: str = "one") -> str:
        ref = self.make(name)
        self.until(ref, "preparing", "booting", "ready")
        return ref

    def audits(self, *actions: str) -> list[str]:
        with self.ctx.db.read() as session:
            return list(session.scalars(select(Audit.action).where(Audit.action.in_(actions)).order_by(Audit.id)))


@contextmanager
def rigged(ctx: Context, clock: Clock, caller: Caller) -> Iterator[Rig]:
    fake = FakeHypervisor()
    lock = ServerLock(ctx.config.home / "run" / "worker.lock")
    lock.take()
    made = Rig(ctx, clock, caller, fake, FakeDisks(fake), lock)
    yield made
    made.end()
    lock.drop()
