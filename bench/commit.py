"""`fleet.commit_sqlite`: machines placed and committed on a simulated fleet, until it is full of them."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from statistics import quantiles

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import distinct, func, select

from bench.record import Figure, benchmark
from garage.config import Config
from garage.db import loads
from garage.db.migrate import migrate
from garage.db.models import Machine
from garage.db.session import Database
from garage.services import fleet, images, keys, machines, projects, setup
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from garage.services.vault import Vault
from tests import postgres

NODES, MACHINES, PROJECTS = 1250, 20_000, 200
BATCH = 20
"""Machines in one request, as one would ask for a cluster of them."""
LARGE = 5000, 50_000, 100
"""Nodes, machines and machines in one request on PostgreSQL."""
SINGLE = 200
"""Requests for one machine each, in the end."""
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEmKSvnJgmSWEX7zVr/vRUgqAkpqKF0pCN0xzEuLBS1b bench"


@dataclass(frozen=True)
class Filled:
    """How long it took: seconds by request, of several machines each, then of one each."""

    batches: list[float]
    singles: list[float]
    per_batch: int

    def rate(self, part: slice = slice(None)) -> float:
        """Machines per second over a part of the batches."""
        taken = self.batches[part]
        return len(taken) * self.per_batch / sum(taken)


@contextmanager
def garage(home: Path, url: str, nodes: int) -> Iterator[tuple[Context, Caller]]:
    """A garage with a simulated fleet and `PROJECTS` projects that may have what they like."""
    config = Config(home=home, database_url=url, site_ipv4=fleet.PREFIX4, site_ipv6="fd31:4:5::/48", node="sim1")
    database = Database(config.sqlalchemy_url)
    migrate(database)
    vault, signer = Vault(Fernet.generate_key()), Ed25519PrivateKey.generate()
    ctx = Context(database, config, time.time, random.Random(1), vault, signer)
    admin = setup.seed(ctx, admin="bench", node_token="no netd")
    images.register(ctx, "debian-12", "ab" * 32, {"name": "debian-12", "cmdline": ""})
    keys.add(ctx, admin, "laptop", KEY)
    fleet.add_nodes(ctx, nodes + 1)  # the garage's own is never looked at, and takes none
    ample = {"machines": 10_000, "vcpus": 100_000, "memory_mib": 1 << 30, "disk_gib": 1 << 20}
    for number in range(PROJECTS):
        projects.create(ctx, admin, f"p{number}")
        projects.set_quota(ctx, admin, f"p{number}", ample)
    try:
        yield ctx, admin
    finally:
        database.close()


def fill(ctx: Context, who: Caller, total: int, per_batch: int) -> Filled:
    """Ask for machines as people do: another project each time, sizes by chance."""
    rng, turn = random.Random(2), cycle(range(PROJECTS))
    batches, singles = list[float](), list[float]()
    for number in range(total // per_batch):
        wanted = NewMachine(name=f"c{number}", project=f"p{next(turn)}", size=rng.choice(["tiny", "small"]))
        began = time.perf_counter()
        machines.create_many(ctx, who, wanted, per_batch)
        batches.append(time.perf_counter() - began)
    for number in range(SINGLE):
        wanted = NewMachine(name=f"s{number}", project=f"p{next(turn)}", size=rng.choice(["tiny", "small"]))
        began = time.perf_counter()
        machines.create(ctx, who, wanted)
        singles.append(time.perf_counter() - began)
    return Filled(batches, singles, per_batch)


def check(ctx: Context, total: int) -> str:
    """All are there, none has another's address, and what nodes hold is what they sum up to; how many a node has at most."""
    with ctx.db.read() as session:
        count, addresses = session.execute(select(func.count(), func.count(distinct(Machine.ipv4)))).one()
        by_node = session.execute(select(func.count()).select_from(Machine).group_by(Machine.node)).scalars().all()
        assert loads.drift(session.connection()) == []
    assert count == addresses == total, (count, addresses)
    return f"{min(by_node)} to {max(by_node)} machines on each of {len(by_node)} nodes"


@benchmark("fleet.commit_sqlite")
def commit_sqlite() -> Figure:
    """Value: machines per second over the last tenth, when the fleet is full of machines."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, garage(Path(folder), "", NODES) as (ctx, admin):
        done = fill(ctx, admin, MACHINES, BATCH)
        spread = check(ctx, MACHINES + SINGLE)
    note = f"{NODES} nodes, {MACHINES} machines of {PROJECTS} projects, {_told(done)}; {spread}. {_postgres()}"
    return Figure("fleet.commit_sqlite", done.rate(_END), "machines/s", MACHINES, note)


_END = slice(-(MACHINES // BATCH // 10), None)


def _told(done: Filled) -> str:
    tenth = len(done.batches) // 10
    p95 = 1000 * quantiles(done.singles, n=20)[-1]
    return (
        f"in requests of {done.per_batch}: the first tenth {done.rate(slice(tenth)):.0f}/s, all {done.rate():.0f}/s, "
        f"the last tenth {done.rate(slice(-tenth, None)):.0f}/s; then {SINGLE} requests for one each: "
        f"{SINGLE / sum(done.singles):.0f}/s, p95 {p95:.1f} ms"
    )


def _postgres() -> str:
    """The same on a PostgreSQL of its own that writes as durably as Debian's default does."""
    nodes, total, batch = LARGE
    if not any(Path("/usr/lib/postgresql").glob("*/bin/postgres")):
        return "PostgreSQL is not installed here."
    cluster = postgres.start({"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "autovacuum": "on"})
    try:
        url = cluster.create("bench")
        with tempfile.TemporaryDirectory(prefix="bench-") as folder, garage(Path(folder), url, nodes) as (ctx, admin):
            done = fill(ctx, admin, total, batch)
            spread = check(ctx, total + SINGLE)
    finally:
        cluster.stop()
    return f"PostgreSQL: {nodes} nodes, {total} machines, {_told(done)}; {spread}"
