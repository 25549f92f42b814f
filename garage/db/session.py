"""Transactions: `read()` sees one snapshot, `write()` is alone from its first statement on and commits at its end."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session, sessionmaker

from garage.db.revisions import before_flush
from garage.errors import N_, GarageError

BUSY_TIMEOUT_MS = 10_000
"""How long a writer waits for its turn before it gives up, on both databases."""
IDLE_TIMEOUT_MS = 60_000
"""PostgreSQL ends a transaction that does nothing for so long: a process that hangs must not keep all writers out."""
WRITERS = 7_126_459_103_482_157
"""The advisory lock of all who write, one of its kind per database."""
CHANNEL = "garage"
"""Where PostgreSQL tells that somebody committed a change."""
SETTLE = 0.005
"""Seconds between the first news and a look: a burst of commits is looked at once."""
_SNAPSHOT = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
_ALONE = {"sqlite": text("BEGIN IMMEDIATE"), "postgresql": text(f"SELECT pg_advisory_xact_lock({WRITERS})")}
_TELL = text(f"SELECT pg_notify('{CHANNEL}', '') WHERE pg_current_xact_id_if_assigned() IS NOT NULL")
"""Only if this transaction changed anything; heard when it has committed."""


class Database:
    """One engine with the two kinds of transaction that services use; safe to share between threads."""

    def __init__(self, url: str, *, echo: bool = False) -> None:
        if (path := sqlite_path(url)) is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        where = parse_url(url)
        self.is_sqlite = where.get_backend_name() == "sqlite"
        options = {} if self.is_sqlite else _postgres_options(where)
        self.engine: Engine = create_engine(where, echo=echo, **options)
        if self.is_sqlite:
            event.listen(self.engine, "connect", _sqlite_connect)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)
        event.listen(self._sessions, "before_flush", before_flush)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that is rolled back at the end."""
        with _translated(), self._sessions() as session:
            if self.is_sqlite:
                session.execute(text("BEGIN"))
            else:
                session.connection(execution_options=_SNAPSHOT)
            try:
                yield session
            finally:
                session.expunge_all()  # what was loaded stays readable; a rollback alone would expire it
                session.rollback()

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session that commits at the end and rolls back on any exception. It holds the one lock of all writers from the start, and so
        sees what all before it wrote: on PostgreSQL each of its statements has a snapshot of its own (READ COMMITTED)."""
        with _translated(), self._sessions() as session:
            session.execute(_ALONE[self.engine.dialect.name])
            try:
                yield session
                if not self.is_sqlite:
                    session.flush()
                    session.execute(_TELL)
                session.commit()
            except BaseException:
                session.rollback()
                raise

    def close(self) -> None:
        self.engine.dispose()


def parse_url(url: str) -> URL:
    """The address with our driver; raises `config` for what is no SQLite or PostgreSQL address, and never shows it (passwords)."""
    try:
        found = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise _unusable() from error
    if found.drivername == "sqlite":
        return found
    if found.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return found.set(drivername="postgresql+psycopg")
    raise _unusable()


def _unusable() -> GarageError:
    hint = N_("give sqlite:////PATH or postgresql://USER:PASSWORD@HOST/DATABASE")
    return GarageError("config", N_("GARAGE_DATABASE_URL names a database that cannot be used"), hint=hint)


def _postgres_options(url: URL) -> dict[str, Any]:
    """A dead end of the line is noticed within some 25 s by both sides, so that a writer that was cut off lets the others in."""
    given = url.query.get("options", ())
    settings = {
        "lock_timeout": BUSY_TIMEOUT_MS,
        "idle_in_transaction_session_timeout": IDLE_TIMEOUT_MS,
        "tcp_keepalives_idle": 10,
        "tcp_keepalives_interval": 5,
        "tcp_keepalives_count": 3,
    }
    options = [
        *([given] if isinstance(given, str) else given),
        *(f"-c {key}={value}" for key, value in settings.items()),
    ]
    connect = {
        "options": " ".join(options),
        "application_name": "garage",
        "connect_timeout": 5,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 25_000,
    }
    connect = {key: value for key, value in connect.items() if key == "options" or key not in url.query}
    return {"connect_args": connect, "pool_pre_ping": True, "pool_size": 8, "max_overflow": 16, "pool_timeout": 10}


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        raise GarageError(
            "already_exists",
            N_("somebody else made the same thing at this moment"),
            hint=N_("look at the list and try again"),
        ) from error
    except DataError as error:
        raise GarageError(
            "invalid_field",
            N_("a value is too long, too large, or holds a character that cannot be kept"),
            hint=N_("shorten it, and leave control characters out"),
        ) from error
    except PoolTimeout as error:
        raise _away("too many wait for it") from error
    except DBAPIError as error:
        if isinstance(error, OperationalError) or error.connection_invalidated:
            raise _away(str(error.orig).strip()) from error
        raise


def _away(reason: str) -> GarageError:
    return GarageError(
        "unavailable",
        N_("the database does not answer: {reason}"),
        hint=N_("try again in a moment"),
        reason=reason[:200],
    )


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
    """Says cheaply whether anything was committed since it last looked. One per thread. Raises where the database is away: make a new
    one then, and take it that something changed meanwhile.

    SQLite: `PRAGMA data_version` on a connection of its own changes when another connection commits.
    PostgreSQL: every `write()` that changed something notifies; looking reads a socket and asks the server nothing.
    """

    def __init__(self, database: Database) -> None:
        borrowed = database.engine.raw_connection()
        driver: Any = borrowed.dbapi_connection
        self._connection = driver  # the driver's own: 20 looks a second should cost nothing
        borrowed.detach()  # closed in the end, not given back: nobody else shall listen on it
        self._is_sqlite = database.is_sqlite
        if not self._is_sqlite:
            driver.autocommit = True
        self._cursor = driver.cursor()
        if self._is_sqlite:
            self._seen = self._data_version()
        else:
            self._cursor.execute(f"LISTEN {CHANNEL}")

    def _data_version(self) -> int:
        self._cursor.execute("PRAGMA data_version")
        return int(self._cursor.fetchall()[0][0])

    def changed(self) -> bool:
        """True when another connection has committed since the last call."""
        if not self._is_sqlite:
            return _drained(self._connection)
        now, before = self._data_version(), self._seen
        self._seen = now
        return now != before

    def wait(self, seconds: float) -> None:
        """Until the next look: `seconds` later, or where the database tells of commits as soon as it told of one."""
        if self._is_sqlite:
            time.sleep(seconds)
            return
        select.select([self._connection], [], [], seconds)
        time.sleep(min(seconds, SETTLE))

    def close(self) -> None:
        self._connection.close()


def _drained(connection: Any) -> bool:
    """Whether any notification has arrived; takes them all. Raises psycopg.OperationalError when the connection has ended."""
    connection.pgconn.consume_input()
    found = False
    while connection.pgconn.notifies():
        found = True
    return found


def sqlite_path(url: str) -> Path | None:
    """The file of an SQLite URL, None for another database."""
    prefix = "sqlite:///"
    return Path(url.removeprefix(prefix)) if url.startswith(prefix) else None
