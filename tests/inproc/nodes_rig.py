"""Several nodes with fake hypervisors and one database, each with a worker whose turns and clocks are moved by hand."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import select

from garage.core.hypervisor_types import Domain, Power
from garage.db.machine_models import MoveRow
from garage.db.models import Machine, Node
from garage.db.node_models import Leftover
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
from garage.worker.watchman import Watchman
from netd import wire
from tests.conftest import Clock
from tests.inproc.rig import Looks, Monotonic


@dataclass
class Server:
    """A node: its hypervisor and its files outlive its worker."""

    name: str
    uri: str
    fake: FakeHypervisor
    disks: FakeDisks
    loop: NodeLoop | None = None
    prober: FakeProber | None = None


@dataclass
class Nodes:
    ctx: Context
    clock: Clock
    caller: Caller
    servers: dict[str, Server]
    monotonic: Monotonic = field(default_factory=Monotonic)
    beaten: float = 0.0
    deaf: set[str] = field(default_factory=set)
    """Nodes whose netd says nothing."""

    def begin(self) -> None:
        """A new worker process, as far as memory is concerned."""
        self.watchman, self.crowd = Watchman(self.ctx, self.monotonic), Looks()
        self.recorder, self.pulse = Recorder(self.ctx), Pulse(self.ctx, self.monotonic)
        self.pulse.turn()
        shop = Shop(
            self.ctx,
            self.recorder,
            self.crowd,
            Chores(self.ctx, self.monotonic),
            self.pulse.sure,
            lambda _: {"meta-data": b""},
            lambda machine_id: ("take", machine_id.encode()),
            lambda: self.watchman.verdict,
            self.monotonic,
        )
        holds = {hold.node: hold for hold in crew.take(self.ctx, self.pulse.id, list(self.servers))}
        for server in self.servers.values():
            server.prober = FakeProber(server.fake, lambda: None)
            backend = Backend(server.fake, server.disks, server.prober, lambda _: True)
            server.loop = NodeLoop(shop, holds[server.name], backend, lambda: None)

    def end(self) -> None:
        for server in self.servers.values():
            if server.loop:
                server.loop.end()
        self.abandon()

    def abandon(self) -> None:
        """The worker died: what it was doing stays as it is, and the others have given it up."""
        self.crowd.close()
        self.recorder.close()
        for server in self.servers.values():
            if server.prober:
                server.prober.close()
        for mate in crew.mates(self.ctx):
            crew.bury(self.ctx, mate)

    def pass_time(self, seconds: float) -> None:
        self.clock.forward(seconds)
        self.monotonic.now += seconds

    def turn(self, *, netd: bool = True) -> None:
        """One turn of each node's worker, and each netd follows its spec."""
        if self.monotonic.now != self.beaten:
            self.beaten = self.monotonic.now
            self.pulse.turn()
        self.watchman.turn()
        for server in self.servers.values():
            if netd and server.name not in self.deaf:
                self.report(server.name)
            if server.loop:
                server.loop.changed()
                server.loop.step()
                server.loop.step()  # with what the first one looked at

    def wait(self, seconds: float) -> None:
        """Time passes, a second at a time."""
        for _ in range(round(seconds)):
            self.pass_time(1.0)
            self.turn()
            time.sleep(0.003)

    def settle(self, turns: int = 25, *, netd: bool = True) -> None:
        for _ in range(turns):
            self.turn(netd=netd)
            time.sleep(0.004)

    def empty(self, source: str, unless: Callable[[], bool] = lambda: False) -> None:
        """Turns until nothing is left on `source`, nor to do, or `unless`."""
        end = time.monotonic() + 20
        while time.monotonic() < end and not unless():
            self.turn()
            if self.node(source).state == "maintenance" and not self.leftovers():
                return
            time.sleep(0.002)
        assert unless(), f"{source} is not empty: {self.moves()[-1:]} {self.leftovers()}"

    def off(self, ref: str) -> None:
        """Turns until the domain that a cold move left paused is off."""
        fake = self.servers[self.row(ref).node].fake
        end = time.monotonic() + 10
        while time.monotonic() < end and fake.look(ref) != Domain(Power.OFF):
            self.turn()
            time.sleep(0.002)

    def leftovers(self) -> list[tuple[str, str]]:
        with self.ctx.db.read() as session:
            return [(row.node, row.machine_id) for row in session.scalars(select(Leftover))]

    def report(self, name: str) -> None:
        said = wire.Report(node=name, applied_version=self.node(name).spec_version, boot_id="fake-boot")
        nodes.report(self.ctx, name, said)

    def row(self, ref: str) -> Machine:
        with self.ctx.db.read() as session:
            return session.get_one(Machine, ref)

    def node(self, name: str) -> Node:
        with self.ctx.db.read() as session:
            return session.get_one(Node, name)

    def spec(self, name: str) -> wire.NodeSpec:
        """What the node's netd is told now."""
        with self.ctx.db.read() as session:
            return nodes.build_spec(session, self.ctx, session.get_one(Node, name))

    def moves(self) -> list[MoveRow]:
        with self.ctx.db.read() as session:
            return list(session.scalars(select(MoveRow).order_by(MoveRow.id)))

    def ready(self, name: str, size: str = "tiny") -> str:
        """A machine whose guest has written to its disk."""
        made = machines.create(self.ctx, self.caller, NewMachine(name=name, size=size))
        self.until(made.id, "ready")
        server = self.servers[self.row(made.id).node]
        server.fake.files[made.id].add("work")
        return made.id

    def until(self, ref: str, state: str) -> None:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            if self.row(ref).state == state:
                return
            self.turn()
            time.sleep(0.004)
        calls = {name: server.fake.calls for name, server in self.servers.items()}
        raise AssertionError(f"{ref} is {self.row(ref).state}, never {state}; {calls}")

    def until_at(self, ref: str, node: str) -> None:
        end = time.monotonic() + 20
        while self.row(ref).node != node:
            assert time.monotonic() < end, f"{ref} is at {self.row(ref).node}"
            self.turn()
            time.sleep(0.004)

    def where(self, ref: str) -> list[str]:
        """Nodes that have anything of the machine: a domain or files."""
        return [
            name
            for name, server in self.servers.items()
            if server.fake.look(ref) is not None or server.fake.files.get(ref)
        ]


@contextmanager
def nodes_rigged(
    ctx: Context, clock: Clock, caller: Caller, names: tuple[str, ...] = ("node1", "node2")
) -> Iterator[Nodes]:
    servers = {}
    with ctx.db.write() as session:
        facts = session.get_one(Node, ctx.config.node).facts
        for name in names:
            uri = f"fake:///{ctx.config.home}/{name}.json"
            fake = FakeHypervisor.from_uri(uri)
            servers[name] = Server(name, uri, fake, FakeDisks(fake))
            if (row := session.get(Node, name)) is None:
                session.add(Node(name=name, hypervisor=uri, facts=facts))
            else:
                row.hypervisor = uri
    made = Nodes(ctx, clock, caller, servers)
    made.begin()
    made.turn()
    yield made
    made.end()
