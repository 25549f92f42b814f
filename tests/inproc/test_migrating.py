"""Two migrations at a time, one that breaks in the middle, one whose process is killed: on both databases."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from garage.db import migrate as migration
from garage.db.migrate import MIGRATIONS, current, head, migrate
from garage.db.session import WRITERS, Database
from garage.errors import GarageError
from tests.inproc.empty import empty_database

BROKEN = """
import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{head}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table("half", sa.Column("id", sa.Integer(), primary_key=True))
    op.execute("UPDATE setting SET value = 'changed'")
    with op.batch_alter_table("setting", schema=None) as batch_op:
        batch_op.add_column(sa.Column("more", sa.String(length=5), nullable=False, server_default=""))
    {cause}
    op.create_table("whole", sa.Column("id", sa.Integer(), primary_key=True))
"""
HEAD = head()
PROCESS = """
import sys
from pathlib import Path
from garage.db import migrate
from garage.db.session import Database
migrate.MIGRATIONS = Path(sys.argv[2])
migrate.migrate(Database(sys.argv[1]))
"""


@pytest.fixture(params=["sqlite", "postgres"])
def url(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    with empty_database(request, tmp_path) as address:
        yield address


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """Of this version, with a row."""
    made = Database(url)
    migrate(made)
    with made.write() as session:
        session.execute(text("INSERT INTO setting (key, value) VALUES ('word', 'old')"))
    yield made
    made.close()


def scripts(folder: Path, cause: str) -> Path:
    """This version's migrations and one more, which does `cause` in its middle."""
    copy = folder / "migrations"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(MIGRATIONS, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "versions" / "9999_broken.py").write_text(BROKEN.format(head=HEAD, cause=cause))
    return copy


def is_as_before(database: Database, before: str | None) -> bool:
    inspector = inspect(database.engine)
    columns = {column["name"] for column in inspector.get_columns("setting")}
    with database.read() as session:
        word = session.scalar(text("SELECT value FROM setting WHERE key = 'word'"))
    return (current(database), word, columns) == (before, "old", {"key", "value"}) and not inspector.has_table("half")


def is_whole(database: Database) -> bool:
    inspector = inspect(database.engine)
    with database.read() as session:
        word = session.scalar(text("SELECT value FROM setting WHERE key = 'word'"))
    return (
        (current(database), word) == ("9999", "changed")
        and inspector.has_table("half")
        and inspector.has_table("whole")
    )


def test_two_at_a_time(url: str, tmp_path: Path) -> None:
    """Both are held at the lock while neither has begun, then let go: one makes all, the other finds it made."""
    environ = {**os.environ, "GARAGE_DATABASE_URL": url, "GARAGE_HOME": str(tmp_path)}
    gate = Database(url)
    with gate.engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if gate.is_sqlite else f"SELECT pg_advisory_xact_lock({WRITERS})")
        both = [
            subprocess.Popen([sys.executable, "-m", "garage.app", "migrate"], env=environ, stdout=subprocess.PIPE)
            for _ in range(2)
        ]
        wait_for(gate, both)
        connection.rollback()
    said = [json.loads(process.communicate(timeout=120)[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert said == [{"before": None, "after": head()}] * 2
    with gate.read() as session:
        assert session.execute(text("SELECT version_num FROM alembic_version")).all() == [(head(),)]
        assert session.scalar(text("SELECT count(*) FROM counter")) == 4
    gate.close()


def wait_for(gate: Database, both: list[subprocess.Popen[bytes]]) -> None:
    """Until both wait. SQLite tells nobody who waits: until they had the time, and have not ended."""
    deadline = time.monotonic() + 60
    while not gate.is_sqlite and time.monotonic() < deadline:
        with gate.read() as session:
            query = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
            if session.scalar(query) == 2:
                break
        time.sleep(0.02)
    else:
        assert gate.is_sqlite, "they do not wait for the lock"
        time.sleep(3)
    assert [process.poll() for process in both] == [None, None]


def test_one_that_breaks_in_the_middle(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = current(database)
    monkeypatch.setattr(migration, "MIGRATIONS", scripts(tmp_path, "raise RuntimeError('the disk fell out')"))
    with pytest.raises(GarageError) as caught:
        migrate(database)
    assert caught.value.code == "config"
    assert "as it was before: the disk fell out" in caught.value.message
    assert is_as_before(database, before)
    scripts(tmp_path, "pass")
    assert migrate(database) == (before, "9999")
    assert is_whole(database)


def test_one_whose_process_is_killed_in_the_middle(
    database: Database, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = current(database)
    folder = scripts(tmp_path, "import os; os.kill(os.getpid(), 9)")
    done = subprocess.run([sys.executable, "-c", PROCESS, url, str(folder)], check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert is_as_before(database, before)
    scripts(tmp_path, "pass")
    monkeypatch.setattr(migration, "MIGRATIONS", folder)
    assert migrate(database) == (before, "9999")
    assert is_whole(database)


def test_a_database_of_a_newer_program_is_left_alone(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as newer:
        newer.setattr(migration, "MIGRATIONS", scripts(tmp_path, "pass"))
        migrate(database)
    with pytest.raises(GarageError) as caught:
        migrate(database)
    assert caught.value.code == "config"
    assert "9999" in caught.value.message
    assert is_whole(database)
