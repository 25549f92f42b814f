"""One worker with a fake hypervisor and SQLite, whose turns and clocks are moved by hand."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import select

from garage.db.models import Audit, Machine, Node
from garage.services import crew, machines, nodes
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from garage.shell.fake_hypervisor import FakeHypervisor
from garage.shell.fake_node import FakeDisks, FakeProber
from garage.worker.chores import Chores
from garage.worker.loop import NodeLoop
from garage.worker.ownership import Pulse
from garage.worker.recorder import Recorder
from garage.worker.shop import Backend, Shop
from garage.worker.turns import Crowd
from netd import wire
from tests.conftest import Clock

NODE = "node1"


@dataclass
class Monotonic:
    """A clock that only tests move."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


class Looks:
    """Runs looks at the node at once, and effects on threads."""

    def __init__(self) -> None:
        self._crowd = Crowd(16)

    def submit(self, key: Hashable, work: Callable[[], None], limit: int = 1) -> None:
        if isinstance(key, tuple) and key[0] == "look":
            work()
        else:
            self._crowd.submit(key, work, limit)

    def close(self) -> None:
        self._crowd.close()


@dataclass
class Rig:
    """One worker, its node and its owner's hands on it."""

    ctx: Context
    clock: Clock
    caller: Caller
    fake: FakeHypervisor
    disks: FakeDisks
    monotonic: Monotonic = field(default_factory=Monotonic)
    network: bool = True

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """A new worker process, as far as memory is concerned."""
        self.recorder = Recorder(self.ctx)
        self.prober = FakeProber(self.fake, lambda: None)
        self.pulse = Pulse(self.ctx, self.monotonic)
        self.pulse.turn()
        self.crowd = Looks()
        self.own()

    def own(self) -> None:
        """Take the node, and begin its work."""
        [self.hold] = crew.take(self.ctx, self.pulse.id, [NODE])
        backend = Backend(self.fake, self.disks, self.prober, lambda _: self.network)
        shop = Shop(
            self.ctx,
            self.recorder,
            self.crowd,
            Chores(self.ctx, self.monotonic),
            self.pulse.sure,
            lambda _: {"meta-data": b""},
            lambda machine_id: ("take", machine_id.encode()),
            monotonic=self.monotonic,
        )
        self.loop = NodeLoop(shop, self.hold, backend, lambda: None)

    def end(self) -> None:
        """The worker ends as it should."""
        self.loop.end()
        while not self.loop.idle():
            self.loop.turn()
            time.sleep(0.002)
        self.crowd.close()
        self.recorder.close()
        self.prober.close()
        self.pulse.leave([NODE])

    def abandon(self) -> None:
        """The worker died: what it was doing stays as it is, and the others have given it up."""
        self.crowd.close()
        self.recorder.close()
        self.prober.close()
        for mate in crew.mates(self.ctx):
            crew.bury(self.ctx, mate)

    def pass_time(self, seconds: float) -> None:
        """Both clocks."""
        self.clock.forward(seconds)
        self.monotonic.now += seconds

    def turn(self) -> None:
        self.pulse.turn()
        if crew.marks(self.ctx)[NODE][0] == "":  # a restore, or a park, has taken it from whoever had it
            self.own()
        self.loop.changed()
        self.loop.step()
        self.loop.step()  # with what the first one looked at

    def until(self, ref: str, *states: str) -> None:
        """Turns until the machine is in the last of `states`; it may go through nothing else."""
        seen = [self.row(ref).state]
        end = time.monotonic() + 30
        while time.monotonic() < end:
            if seen[-1] == states[-1]:
                self.until_true(
                    lambda: ref not in self.loop._busy
                )  # what led there is collected: the new state is timed from now on
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

    def until_true(self, true: Callable[[], bool]) -> None:
        end = time.monotonic() + 30
        while not true():
            assert time.monotonic() < end
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
    made = Rig(ctx, clock, caller, fake, FakeDisks(fake))
    yield made
    made.end()
