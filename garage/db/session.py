"""Transactions: `read()` sees one snapshot, `write()` is alone from its first statement on and commits at its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

from garage.errors import N_, GarageError

BUSY_TIMEOUT_MS = 10_000


class Database:
    """One engine with the two kinds of transaction that services use; safe to share between threads."""

    def __init__(self, url: str, *, echo: bool = False) -> None:
        if (path := sqlite_path(url)) is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self.engine: Engine = create_engine(url, echo=echo, pool_pre_ping=not url.startswith("sqlite"))
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        if self.is_sqlite:
            event.listen(self.engine, "connect", _sqlite_connect)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that is rolled back at the end."""
        with _translated(), self._sessions() as session:
            if self.is_sqlite:
                session.execute(text("BEGIN"))
            try:
                yield session
            finally:
                session.expunge_all()  # what was loaded stays readable; a rollback alone would expire it
                session.rollback()

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session that commits at the end and rolls back on any exception. On SQLite it holds the write lock from the start."""
        with _translated(), self._sessions() as session:
            if self.is_sqlite:
                session.execute(text("BEGIN IMMEDIATE"))
            try:
                yield session
                session.commit()
            except BaseException:
                session.rollback()
                raise

    def close(self) -> None:
        self.engine.dispose()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        raise GarageError(
            "unavailable",
            N_("the database does not answer: {reason}"),
            hint=N_("try again in a moment"),
            reason=str(error.orig)[:200],
        ) from error
    except IntegrityError as error:
        raise GarageError(
            "already_exists",
            N_("somebody else made the same thing at this moment"),
            hint=N_("look at the list and try again"),
        ) from error


def _sqlite_connect(connection: object, _record: object) -> None:
    """WAL, durable enough for a state of record, and no implicit BEGIN: `write()` says BEGIN IMMEDIATE itself."""
    connection.isolation_level = None  # type: ignore[attr-defined]
    cursor = connection.cursor()  # type: ignore[attr-defined]
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "secure_delete=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


class ChangeWatch:
    """Says cheaply whether anything was committed since it last looked. One per thread.

    SQLite: `PRAGMA data_version` on a connection of its own changes when another connection commits.
    PostgreSQL: the number of the last event row.
    """

    def __init__(self, database: Database) -> None:
        self._connection: Connection = database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        self._cursor = self._connection.connection.cursor()  # the driver's own: 20 looks a second should cost nothing
        self._query = (
            "PRAGMA data_version" if database.is_sqlite else "SELECT txid_snapshot_xmax(txid_current_snapshot())"
        )
        self._seen = self._look()

    def _look(self) -> int:
        self._cursor.execute(self._query)
        return int(self._cursor.fetchall()[0][0])

    def changed(self) -> bool:
        """True when another connection has committed since the last call."""
        now, before = self._look(), self._seen
        self._seen = now
        return now != before

    def close(self) -> None:
        self._connection.close()


def sqlite_path(url: str) -> Path | None:
    """The file of an SQLite URL, None for another database."""
    prefix = "sqlite:///"
    return Path(url.removeprefix(prefix)) if url.startswith(prefix) else None
