"""What services rely on, of both databases: one snapshot, one writer at a time, news of commits, and recovery."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from garage.db import session as db_session
from garage.db.migrate import migrate
from garage.db.models import Setting
from garage.db.session import ChangeWatch, Database, parse_url
from garage.errors import GarageError
from garage.services.context import Context
from tests.inproc.served import wait_until
from tests.postgres import Cluster, launch
from tests.postgres import start as start_postgres


@pytest.fixture
def db(ctx: Context) -> Database:
    return ctx.db


def put(db: Database, value: str) -> None:
    with db.write() as session:
        session.merge(Setting(key="word", value=value))


def broken_off(db: Database) -> None:
    with db.write() as session:
        session.get_one(Setting, "word").value = "of a transaction that does not end well"
        session.flush()
        raise ZeroDivisionError


def word(db: Database) -> str:
    with db.read() as session:
        return session.get_one(Setting, "word").value


def test_a_reader_sees_one_moment(db: Database) -> None:
    put(db, "old")
    with db.read() as session:
        assert session.scalar(text("SELECT value FROM setting WHERE key = 'word'")) == "old"
        put(db, "new")
        assert session.scalar(text("SELECT value FROM setting WHERE key = 'word'")) == "old"
    assert word(db) == "new"


def test_what_a_reader_changes_is_nothing(db: Database, engine: str) -> None:
    put(db, "old")
    try:
        with db.read() as session:
            session.execute(text("UPDATE setting SET value = 'new'"))
    except DBAPIError as error:
        assert engine == "postgres"
        assert "read-only" in str(error)
    assert word(db) == "old"


def test_writers_are_alone_from_their_first_statement_on(db: Database) -> None:
    """Each reads before it writes, as services do: no count is lost."""
    put(db, "0")

    def count(_: int) -> None:
        with db.write() as session:
            row = session.get_one(Setting, "word")
            before = int(row.value)
            time.sleep(0.001)
            row.value = str(before + 1)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, range(40)))
    assert word(db) == "40"


def test_a_writer_who_waits_too_long_is_told(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db_session, "BUSY_TIMEOUT_MS", 100)
    impatient = Database(db.engine.url.render_as_string(hide_password=False))
    with db.write() as session:
        session.merge(Setting(key="word", value="first"))
        with pytest.raises(GarageError) as caught:
            put(impatient, "second")
    assert caught.value.code == "unavailable"
    put(impatient, "third")
    assert word(db) == "third"
    impatient.close()


def test_an_exception_undoes_all(db: Database) -> None:
    put(db, "old")
    with pytest.raises(ZeroDivisionError):
        broken_off(db)
    assert word(db) == "old"


def test_the_same_thing_twice_is_told(db: Database) -> None:
    put(db, "one")
    with pytest.raises(GarageError) as caught, db.write() as session:
        session.add(Setting(key="word", value="two"))
    assert caught.value.code == "already_exists"


def quiet(watch: ChangeWatch) -> bool:
    """PostgreSQL's news take a moment."""
    time.sleep(0.05)
    return not watch.changed()


def test_a_watch_hears_of_commits_and_of_nothing_else(db: Database) -> None:
    watch = ChangeWatch(db)
    assert quiet(watch)
    put(db, "one")
    wait_until(watch.changed)
    assert quiet(watch)
    assert word(db) == "one"
    with db.write() as session:
        session.get_one(Setting, "word")
    with pytest.raises(ZeroDivisionError):
        broken_off(db)
    assert quiet(watch)
    with db.write() as session:
        session.execute(text("UPDATE setting SET value = 'three'"))
        session.flush()
        assert quiet(watch)
    wait_until(watch.changed)
    watch.close()


@pytest.mark.parametrize(
    "url",
    ["mysql://root:secret@db/garage", "postgresql+psycopg2://u:secret@db/g", "postgresql://u:secret@db:x/g", "db"],
)
def test_another_database_is_refused_and_its_password_not_shown(url: str) -> None:
    with pytest.raises(GarageError) as caught:
        parse_url(url)
    assert caught.value.code == "config"
    assert "secret" not in str(caught.value)


# --- PostgreSQL alone -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """One that may be killed; what it said was kept is kept."""
    made = start_postgres({"synchronous_commit": "on", "fsync": "off"})
    yield made
    made.stop()


@pytest.fixture
def killable(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Database]:
    name = request.node.name
    made = Database(cluster.create(name))
    migrate(made)
    yield made
    made.close()


def put_while(happens: Callable[[], None], db: Database, value: str) -> None:
    with db.write() as session:
        session.merge(Setting(key="word", value=value))
        session.flush()
        happens()


def kill_clients(cluster: Cluster) -> None:
    with cluster.connect() as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'garage'")


def test_ended_connections_are_made_anew(cluster: Cluster, killable: Database) -> None:
    put(killable, "one")
    watch = ChangeWatch(killable)
    kill_clients(cluster)
    assert word(killable) == "one"
    with pytest.raises(Exception, match=r"terminat|closed"):
        wait_until(watch.changed)
    with pytest.raises(GarageError) as caught:
        put_while(lambda: kill_clients(cluster), killable, "two")
    assert caught.value.code == "unavailable"
    assert word(killable) == "one"
    put(killable, "three")
    assert word(killable) == "three"


def test_a_server_that_was_killed_and_came_back(cluster: Cluster, killable: Database) -> None:
    put(killable, "committed")
    cluster.process.kill()
    cluster.process.wait()
    with pytest.raises(GarageError) as caught:
        word(killable)
    assert caught.value.code == "unavailable"
    (cluster.folder / "data" / "postmaster.pid").unlink(missing_ok=True)
    cluster.process = launch(cluster.folder, cluster.folder / "data", cluster.folder / "log", {"fsync": "off"})
    assert word(killable) == "committed"
    put(killable, "again")


def test_a_writer_that_hangs_keeps_nobody_out_for_long(
    cluster: Cluster, killable: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db_session, "IDLE_TIMEOUT_MS", 300)
    hanging = Database(killable.engine.url.render_as_string(hide_password=False))
    holds, goes_on = threading.Event(), threading.Event()
    said: list[GarageError] = []

    def hang() -> None:
        try:
            with hanging.write() as session:
                session.merge(Setting(key="word", value="of the hanging one"))
                session.flush()
                holds.set()
                goes_on.wait(30)
        except GarageError as error:
            said.append(error)

    thread = threading.Thread(target=hang)
    thread.start()
    assert holds.wait(10)
    put(killable, "of another")
    goes_on.set()
    thread.join(10)
    assert [error.code for error in said] == ["unavailable"]
    assert word(killable) == "of another"
    hanging.close()


def test_what_a_column_cannot_hold_is_told(killable: Database) -> None:
    for value in ("x" * 2000, "nul\0"):
        with pytest.raises(GarageError) as caught:
            put(killable, value)
        assert caught.value.code == "invalid_field"


def test_the_cluster_of_tests_is_reached_by_its_socket_alone(cluster: Cluster) -> None:
    with cluster.connect() as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
    assert next(path for path in Path(cluster.folder).iterdir() if path.is_socket()).stat().st_mode & 0o77 == 0
