"""`fleet.reconcile_idle`: what a worker of 1,250 nodes with 20,000 machines costs while nothing happens."""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select

from bench.record import Figure, benchmark
from garage.config import Config
from garage.core.domain_xml import DomainSpec
from garage.core.types import NodeAccess
from garage.db.migrate import migrate
from garage.db.models import Machine
from garage.db.session import Database
from garage.services import crew, fleet, setup
from garage.services.context import Context
from garage.services.vault import Vault
from garage.shell.fake_hypervisor import FakeHypervisor
from garage.shell.fake_node import FakeDisks, FakeProber
from garage.worker.loop import FULL_LOOK
from garage.worker.main import run
from garage.worker.shop import Backend

NODES, MACHINES = 1250, 20_000
ROUNDS = 3
SPEC = DomainSpec(
    instance="bch", machine_id="", title="", vcpus=1, memory_mib=512, kvm=False, image_disk=Path("/"), kernel=Path("/"),
    initrd=None, cmdline="", disk=Path("/"), seed=Path("/"), bridge="", tap="", mac="", console_log=Path("/"),
)  # fmt: skip


@benchmark("fleet.reconcile_idle")
def reconcile_idle() -> Figure:
    """CPU seconds of the whole worker process, all its threads, per round: each node is looked at once and each machine planned once."""
    with tempfile.TemporaryDirectory(prefix="garage-bench-") as folder:
        ctx, stop = _context(Path(folder)), threading.Event()
        fakes = _fleet(ctx)

        def open_backend(access: NodeAccess, _config: Config, notify: Callable[[], None]) -> Backend:
            fake = fakes.setdefault(access.name, FakeHypervisor())
            return Backend(fake, FakeDisks(fake), FakeProber(fake, notify), lambda _bridge: True)

        thread = threading.Thread(target=run, args=(ctx, ctx.config, stop), kwargs={"open_backend": open_backend})
        thread.start()
        try:
            marks = crew.marks(ctx)
            while True:  # what the first look has to do and to write is none of it
                time.sleep(2 * FULL_LOOK)
                if (before := marks) == (marks := crew.marks(ctx)) and all(owner for owner, _, _ in before.values()):
                    break
            calls = sum(len(fake.calls) for fake in fakes.values())
            begun, cpu = time.monotonic(), time.process_time()
            time.sleep(ROUNDS * FULL_LOOK)
            cpu = (time.process_time() - cpu) * FULL_LOOK / (time.monotonic() - begun)
            assert sum(len(fake.calls) for fake in fakes.values()) == calls, "something was done"
        finally:
            stop.set()
            thread.join()
            ctx.db.close()
    note = f"{NODES} nodes with {MACHINES} machines, a round every {FULL_LOOK:.0f} s; no pools; beats and looks for commits are in it"
    return Figure("fleet.reconcile_idle", cpu, "CPU-s", ROUNDS, note)


def _context(home: Path) -> Context:
    config = Config(
        home=home,
        instance="bch",
        hypervisor="fake://",
        pool_ram_share=0.0,
        site_ipv4=fleet.PREFIX4,
        site_ipv6="fd31:4:5::/48",
    )
    vault, key = Vault(Fernet.generate_key()), Ed25519PrivateKey.generate()
    ctx = Context(Database(config.sqlalchemy_url), config, time.time, random.SystemRandom(), vault, key)
    migrate(ctx.db)
    setup.seed(ctx, admin="admin", node_token="token of a benchmark")
    return ctx


def _fleet(ctx: Context) -> dict[str, FakeHypervisor]:
    """Rows, and the domains that they speak of."""
    nodes = fleet.add_nodes(ctx, NODES)
    fleet.add_machines(ctx, MACHINES, nodes)
    fakes = {name: FakeHypervisor.from_uri(fleet.Model().uri(name, number)) for number, name in enumerate(nodes)}
    with ctx.db.read() as session:
        for machine_id, node, memory in session.execute(select(Machine.id, Machine.node, Machine.memory_mib)):
            fakes[node].define(replace(SPEC, machine_id=machine_id, memory_mib=memory))
            fakes[node].start(machine_id)
    return fakes
