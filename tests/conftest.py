"""What all tiers share: a context with an injected clock, and a garage with an admin, two members and a node."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, settings

from garage.config import Config
from garage.db import loads
from garage.db.migrate import migrate
from garage.db.models import Base, Node
from garage.db.session import Database
from garage.services import accounts, images, setup
from garage.services.context import Caller, Context
from garage.services.vault import Vault
from tests import completeness
from tests.leftovers import Run
from tests.postgres import Cluster, Reused
from tests.postgres import start as start_postgres

NOON = 1_800_000_000.0
NODE_TOKEN = "node-token-of-the-tests"
ALICE_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEmKSvnJgmSWEX7zVr/vRUgqAkpqKF0pCN0xzEuLBS1b alice@laptop"

SAME = bool(os.environ.get("CI"))
"""Whether properties are tried with the same examples each time: there a commit is judged by what it changes."""
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=SAME)
settings.load_profile("busy")  # how long an example takes says something about the server, and nothing about us

RUN = pytest.StashKey[Run]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RUN] = Run()
    config.pluginmanager.register(completeness)


def pytest_unconfigure(config: pytest.Config) -> None:
    if run := config.stash.get(RUN, None):
        run.end()


class Clock:
    """A clock that tests move by hand; also backwards."""

    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """argon2's real cost, 64 MiB and three passes, would be most of the tests' time."""
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(accounts, "_HASHER", cheap)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """A PostgreSQL server, started for the first test that needs one."""
    cluster = start_postgres()
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def postgres_database(postgres: Cluster) -> Iterator[Reused]:
    """A migrated database in it."""
    database = Database(postgres.create("garage"))
    migrate(database)
    database.close()
    reused = Reused(postgres, "garage")
    yield reused
    reused.close()


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> str:
    """Which database `ctx` has: "sqlite" or "postgres"; tests/inproc/conftest.py says which tests run with both."""
    return getattr(request, "param", "sqlite")


@pytest.fixture
def database_url(engine: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """As in `Config`: empty for the SQLite file in GARAGE_HOME."""
    if engine == "sqlite":
        yield ""
        return
    reused: Reused = request.getfixturevalue("postgres_database")
    yield reused.url
    reused.clear()


@pytest.fixture
def config(tmp_path: Path, database_url: str) -> Config:
    site = {"site_ipv4": "10.31.0.0/20", "site_ipv6": "fd31:4:5::/48"}
    return Config(
        home=tmp_path,
        database_url=database_url,
        instance="tst",
        hypervisor="fake://",
        ram_reserve_mib=1024,
        disk_reserve_mib=1024,
        pool_ram_share=0.0,
        second_factor="optional",
        **site,
    )


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file that tests copy: migrating takes longer than most of them."""
    path = tmp_path_factory.mktemp("template") / "garage.db"
    database = Database(f"sqlite:///{path}")
    migrate(database)
    with database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return path


@pytest.fixture
def ctx(config: Config, clock: Clock, empty_database: Path) -> Iterator[Context]:
    """An empty, migrated database with deterministic randomness. Whatever a test did, what nodes hold is what their machines sum up to."""
    (config.home / "db").mkdir()
    shutil.copy(empty_database, config.home / "db" / "garage.db")
    database = Database(config.sqlalchemy_url)
    yield Context(database, config, clock, random.Random(7), Vault(Fernet.generate_key()), Ed25519PrivateKey.generate())
    with database.engine.connect() as connection:
        assert loads.drift(connection) == []
    database.close()


@pytest.fixture
def admin(ctx: Context) -> Caller:
    """A garage whose node answers and has an image; returns its admin."""
    who = setup.seed(ctx, admin="root-admin", node_token=NODE_TOKEN)
    images.register(ctx, "debian-12", "ab" * 32, {"name": "debian-12", "cmdline": "root=LABEL=root console=ttyS0"})
    facts = {"vcpus": 8, "memory_mib": 16384, "disk_free_gib": 100.0, "disk_total_gib": 200.0, "virtualisation": "tcg"}
    with ctx.db.write() as session:
        session.get_one(Node, ctx.config.node).facts = facts
    return who


def on_disk(ctx: Context) -> bytes:
    """All that the database has on its disk (SQLite), or in its rows (PostgreSQL)."""
    if ctx.db.is_sqlite:
        ctx.db.engine.dispose()
        return b"".join(path.read_bytes() for path in (ctx.config.home / "db").iterdir())
    with ctx.db.read() as session:
        rows = [row for table in Base.metadata.sorted_tables for row in session.execute(table.select())]
    return b"\0".join(value if isinstance(value, bytes) else str(value).encode() for row in rows for value in row)


def member(ctx: Context, admin: Caller, name: str) -> Caller:
    """A signed-up member."""
    _, token = accounts.create_user(ctx, admin, name)
    return accounts.accept_invitation(ctx, token, f"password of {name}", "192.0.2.9")[0]


@pytest.fixture
def alice(ctx: Context, admin: Caller) -> Caller:
    return member(ctx, admin, "alice")


@pytest.fixture
def bob(ctx: Context, admin: Caller) -> Caller:
    return member(ctx, admin, "bob")
