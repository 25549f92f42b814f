"""A drain over real libvirt and QEMU: two servers, a worker's loop for each, one machine that runs and one that is off."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from sqlalchemy import select

from garage.core.hypervisor_types import Domain, Power
from garage.db.machine_models import MoveRow
from garage.db.models import Machine, Node
from garage.services import crew, drains, machines, nodes
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from garage.shell.hypervisor import LibvirtHypervisor
from garage.shell.remote_disks import RemoteDisks
from garage.worker import moving
from garage.worker.chores import Chores
from garage.worker.loop import NodeLoop
from garage.worker.ownership import Pulse
from garage.worker.recorder import Recorder
from garage.worker.shop import Backend, Shop
from garage.worker.watchman import Watchman
from netd import wire
from tests.inproc.rig import Looks
from tests.remotelab import INSTANCE, RemoteLab, remote_lab
from tests.servers import HOME

pytestmark = pytest.mark.machine
FACTS = {"vcpus": 8, "memory_mib": 8192, "disk_free_gib": 100.0, "disk_total_gib": 200.0, "virtualisation": "tcg"}


class Prober:
    """Tiny guests have no SSH: whoever is asked for has answered."""

    def __init__(self) -> None:
        self._targets: frozenset[str] = frozenset()

    def set_targets(self, targets: dict[str, str]) -> None:
        self._targets = frozenset(targets)

    def answered(self) -> frozenset[str]:
        return self._targets

    def close(self) -> None:
        pass


class Death(BaseException):
    """Of a worker."""


@dataclass
class Pair:
    ctx: Context
    caller: Caller
    lab: RemoteLab
    here: Path
    """The worker's own GARAGE_HOME: the configured one is that of the servers."""
    hypervisors: dict[str, LibvirtHypervisor] = field(default_factory=dict)
    disks: dict[str, RemoteDisks] = field(default_factory=dict)
    loops: dict[str, NodeLoop] = field(default_factory=dict)
    network: bool = True
    """What netd is told is done."""

    def begin(self) -> None:
        """A worker with a loop for each node."""
        self.recorder, self.crowd = Recorder(self.ctx), Looks()
        self.pulse = Pulse(replace(self.ctx, config=replace(self.ctx.config, home=self.here)))
        self.watchman = Watchman(self.ctx)
        self.pulse.turn()
        shop = Shop(
            self.ctx,
            self.recorder,
            self.crowd,
            Chores(self.ctx, time.monotonic),
            self.pulse.sure,
            lambda _: {"meta-data": b"x"},
            lambda _: ("true", b""),
            lambda: self.watchman.verdict,
        )
        holds = {hold.node: hold for hold in crew.take(self.ctx, self.pulse.id, ["one", "two"])}
        for name, hold in holds.items():
            self.hypervisors[name], self.disks[name] = self.lab.hypervisor(name), self.lab.disks(name)
            backend = Backend(self.hypervisors[name], self.disks[name], Prober(), lambda _: True)
            self.loops[name] = NodeLoop(shop, hold, backend, lambda: None)

    def end(self) -> None:
        for loop in self.loops.values():
            loop.end()
        self.die()

    def die(self) -> None:
        """Nothing is released; what libvirt was asked for goes on in it."""
        self.crowd.close()
        self.recorder.close()
        for mate in crew.mates(self.ctx):
            crew.bury(self.ctx, mate)

    def empty(self, node: str) -> bool:
        with self.ctx.db.read() as session:
            return session.get_one(Node, node).state == "maintenance"

    def turn(self) -> None:
        self.pulse.turn()
        for name, loop in self.loops.items():
            with self.ctx.db.read() as session:
                version = session.get_one(Node, name).spec_version
            nodes.report(self.ctx, name, wire.Report(node=name, applied_version=version if self.network else 0))
            loop.changed()
            loop.step()
            loop.step()  # with what the first one looked at
        time.sleep(0.05)

    def until(self, what: str, seconds: float, done: object) -> None:
        end = time.monotonic() + seconds
        while not done():  # type: ignore[operator]
            assert time.monotonic() < end, what
            self.turn()

    def row(self, ref: str) -> Machine:
        with self.ctx.db.read() as session:
            return session.get_one(Machine, ref)

    def make(self, name: str) -> str:
        ref = machines.create(self.ctx, self.caller, NewMachine(name=name, size="tiny")).id
        self.until(f"{name} is ready", 60, lambda: self.row(ref).state == "ready")
        return ref


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RemoteLab]:
    with remote_lab(tmp_path_factory.mktemp("controller")) as made:
        yield made


@pytest.fixture
def pair(ctx: Context, alice: Caller, lab: RemoteLab, tmp_path: Path) -> Iterator[Pair]:
    ctx = replace(ctx, config=replace(ctx.config, instance=INSTANCE, home=HOME), clock=time.time)
    with ctx.db.write() as session:
        session.get_one(Node, ctx.config.node).state = "maintenance"
        for name in ("one", "two"):
            access = lab.node(name)
            session.add(Node(name=name, hypervisor=access.hypervisor, address=access.address,
                             ssh_host_key=access.ssh_host_key, facts=FACTS))  # fmt: skip
    made = Pair(ctx, alice, lab, tmp_path)
    made.begin()
    yield made
    made.end()
    lab.clear()


def test_a_server_is_emptied(pair: Pair, admin: Caller) -> None:
    runs = pair.make("runs")
    source = pair.row(runs).node
    (target,) = {"one", "two"} - {source}
    with pair.ctx.db.write() as session:
        session.get_one(Node, target).state = "maintenance"
    off = pair.make("off")
    machines.stop(pair.ctx, pair.caller, off)
    pair.until("off is off", 60, lambda: pair.row(off).state == "stopped")
    disk = pair.disks[source].disk_path(off)
    pair.lab.servers[source].run(f"qemu-io -f qcow2 -c 'write -P 7 1M 1M' {disk}")
    with pair.ctx.db.write() as session:
        session.get_one(Node, target).state = "active"
    drains.drain(pair.ctx, admin, source)
    pair.until("the node is empty", 120, lambda: pair.empty(source))
    with pair.ctx.db.read() as session:
        moves = {row.machine_id: row for row in session.scalars(select(MoveRow))}
    assert {ref: (row.way, row.error) for ref, row in moves.items()} == {runs: ("live", None), off: ("cold", None)}
    assert 0 < (moves[runs].pause_ms or 0) < 5000
    pair.until("nothing is left", 60, lambda: pair.disks[source].present(off) == (False, False))
    there, here = pair.hypervisors[target], pair.hypervisors[source]
    pair.until("the copy is off", 30, lambda: there.observe().get(off) == Domain(Power.OFF))
    assert (here.observe(), there.look(runs)) == ({}, Domain(Power.RUNNING))
    assert (pair.row(runs).state, pair.row(off).state) == ("ready", "stopped")
    said = pair.lab.servers[target].run(f"qemu-io -f qcow2 -r -c 'read -P 7 1M 1M' {disk}")
    assert "failed" not in said, "what was on its disk has come along"
    machines.start(pair.ctx, pair.caller, off)
    pair.until("off runs there", 60, lambda: pair.row(off).state == "ready")


def test_a_worker_dies_while_a_guest_travels(pair: Pair, admin: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """libvirt is still at it when the next worker comes; the guest is at one of the two all the time, and gets there."""
    pair.network = False  # it waits for that, and its disk is there meanwhile
    ref = machines.create(pair.ctx, pair.caller, NewMachine(name="runs", size="tiny")).id
    source = pair.row(ref).node
    (target,) = {"one", "two"} - {source}
    pair.until("it has a disk", 60, lambda: pair.disks[source].present(ref) == (True, True))
    pair.lab.servers[source].run(f"qemu-io -f qcow2 -c 'write -P 7 0 200M' {pair.disks[source].disk_path(ref)}")
    pair.network = True
    pair.until("it runs", 60, lambda: pair.row(ref).state == "ready")
    travelling = list[int]()

    def die(percent: int) -> None:
        travelling.append(percent)
        raise Death

    monkeypatch.setattr(moving, "_teller", lambda *_: die)
    drains.drain(pair.ctx, admin, source)
    pair.until("it travels", 60, lambda: travelling)
    pair.die()
    monkeypatch.undo()
    pair.begin()
    again, end = time.monotonic() + 3, time.monotonic() + 120
    while not pair.empty(source):
        if time.monotonic() >= again:  # the first try of the new worker may meet what the old one left at the target
            again += 3
            drains.drain(pair.ctx, admin, source)
        assert time.monotonic() < end
        running = [name for name in ("one", "two") if pair.hypervisors[name].look(ref) == Domain(Power.RUNNING)]
        assert len(running) <= 1
        pair.turn()
    assert pair.hypervisors[target].look(ref) == Domain(Power.RUNNING)
    pair.until("nothing is left", 60, lambda: pair.disks[source].present(ref) == (False, False))
    assert pair.hypervisors[source].observe() == {}
    assert pair.row(ref).state == "ready"
