"""A whole database as one file that either kind of database takes: gzip of JSON lines.

    {"garage": "backup", "format": 1, "revision": …, "made_at": …, …}     what it is of
    {"table": NAME, "columns": […]}                                       then a line per row: its values in that order
    {"end": true, "rows": N, "sha256": …}                                 of all lines before

Bytes are base64. What follows from other rows, or is of the moment (sessions, events), is left out. A file is first read whole into an
SQLite file of its own, made at the file's revision and brought to this version's: what comes out of that has this schema and refers to
nothing that is missing, and until then nothing else was touched.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from garage.db.migrate import known, migrate, upgrade
from garage.db.models import Base
from garage.db.session import Database
from garage.errors import N_, GarageError

FORMAT = 1
LEFT_OUT = frozenset(
    {
        "node_load",
        "session",
        "login_failure",
        "event",
        "idempotency",
        "adoption",
        "leftover",
        "news_outgoing",
        "node_task",
        "worker",
        "alembic_version",
    }
)
"""Sums (made anew); sign-ins, hints and answers of the last day; who is at work; what a restore itself keeps; and what was to be done on
servers or sent to people: what was to be removed may be in use again, what was sent is old news."""
LINE = 64 << 20
UNPACKED = 8 << 30
"""Bytes; a file that unpacks to more is no backup of ours."""
CHUNK = 500

Header = dict[str, Any]


def write(session: Session, out: IO[bytes], header: Header) -> int:
    """All rows that `session` sees (one snapshot), to an open file; returns how many."""
    digest, rows = hashlib.sha256(), 0
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=6, mtime=0) as packed:

        def say(value: Any) -> None:
            line = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
            digest.update(line)
            packed.write(line)

        say({"garage": "backup", "format": FORMAT, **header})
        for table in _tables():
            say({"table": table.name, "columns": [column.name for column in table.columns]})
            query = table.select().order_by(*table.primary_key.columns)
            for row in session.execute(query, execution_options={"yield_per": CHUNK}):
                say([_packed(value) for value in row])
                rows += 1
        last = {"end": True, "rows": rows, "sha256": digest.hexdigest()}
        packed.write(json.dumps(last).encode() + b"\n")
    return rows


@contextmanager
def read(path: Path) -> Iterator[tuple[Header, Database]]:
    """(What it is of, its rows in a database of this version), for as long as the context lasts. Raises `malformed_request` for what is no
    whole backup, `config` for one of a newer version."""
    with TemporaryDirectory(prefix="garage-restore-") as folder:
        staged = Database(f"sqlite:///{folder}/staged.db")
        try:
            with _complaints(), gzip.open(path) as lines:
                header = _load(_lines(lines), staged)
            migrate(staged)
            yield header, staged
        finally:
            staged.close()


def replace(session: Session, staged: Database) -> int:
    """In the caller's transaction: nothing but the staged rows. Returns how many."""
    rows = 0
    for table in reversed(Base.metadata.sorted_tables):
        session.execute(table.delete())
    with staged.engine.connect() as source:
        for table in _tables():
            found = source.execution_options(yield_per=CHUNK).execute(table.select())
            for part in found.mappings().partitions(CHUNK):
                session.execute(table.insert(), [dict(row) for row in part])
                rows += len(part)
    if session.get_bind().dialect.name == "postgresql":
        _number_on(session)
    session.expunge_all()
    return rows


def _tables() -> list[sa.Table]:
    return [table for table in Base.metadata.sorted_tables if table.name not in LEFT_OUT]


def _number_on(session: Session) -> None:
    """Sequences go on after the highest number that came."""
    for table in Base.metadata.sorted_tables:
        if (column := table.autoincrement_column) is not None:
            name = sa.func.pg_get_serial_sequence(f'"{table.name}"', column.name)
            highest = session.scalar(sa.select(sa.func.max(column))) or 0
            session.execute(sa.select(sa.func.setval(name, highest + 1, False)))


def _packed(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _lines(packed: gzip.GzipFile) -> Iterator[tuple[bytes, Any]]:
    total = 0
    while line := packed.readline(LINE + 1):
        total += len(line)
        if len(line) > LINE or total > UNPACKED or not line.endswith(b"\n"):
            raise ValueError("a line is too long, or cut off")
        yield line, json.loads(line)


def _load(lines: Iterator[tuple[bytes, Any]], staged: Database) -> Header:
    line, header = next(lines, (b"", None))
    if not isinstance(header, dict) or header.get("garage") != "backup":
        raise ValueError("it is no backup")
    if header.get("format") != FORMAT or not known(str(header.get("revision"))):
        raise GarageError(
            "config",
            N_("the backup is of a version that this garage does not know ({revision})"),
            hint=N_("bring this garage to that version first"),
            revision=str(header.get("revision"))[:40],
        )
    upgrade(staged, str(header["revision"]))
    tables = sa.MetaData()
    tables.reflect(staged.engine)
    with staged.engine.connect() as connection:
        for statement in ("PRAGMA synchronous=OFF", "PRAGMA foreign_keys=OFF", "BEGIN"):
            connection.exec_driver_sql(statement)
        for table in reversed(tables.sorted_tables):
            if table.name != "alembic_version":
                connection.execute(table.delete())
        _load_rows(connection, tables, lines, hashlib.sha256(line))
        connection.exec_driver_sql("COMMIT")
        _check_references(connection)
    return header


def _load_rows(
    connection: sa.Connection, tables: sa.MetaData, lines: Iterator[tuple[bytes, Any]], digest: hashlib._Hash
) -> None:
    """All lines after the first, up to the end that they say themselves."""
    insert, rows = _Insert(connection, None, []), 0
    for line, value in lines:
        if isinstance(value, dict) and value.get("end"):
            insert.flush()
            _check_end(value, rows, digest.hexdigest(), lines)
            return
        digest.update(line)
        if isinstance(value, dict):
            insert.flush()
            insert = _Insert(connection, _known_table(tables, value), [str(name) for name in value["columns"]])
        else:
            insert.add(value)
            rows += 1
    raise ValueError("its end is missing")


def _known_table(tables: sa.MetaData, said: dict[str, Any]) -> sa.Table:
    table = tables.tables.get(str(said.get("table")))
    if table is None or table.name in LEFT_OUT:
        raise ValueError("there is no such table")
    return table


class _Insert:
    """Rows of one table, some hundred at a time."""

    def __init__(self, connection: sa.Connection, table: sa.Table | None, columns: list[str]) -> None:
        self._connection, self._table, self._columns = connection, table, columns
        self._rows: list[dict[str, Any]] = []
        if table is None:
            return
        if set(columns) != set(table.columns.keys()) or len(columns) != len(set(columns)):
            raise ValueError(f"the columns of {table.name} are others")
        self._binary = {name for name in columns if isinstance(table.columns[name].type, sa.LargeBinary)}

    def add(self, values: Any) -> None:
        if self._table is None or not isinstance(values, list) or len(values) != len(self._columns):
            raise ValueError("a row has too few values, or too many")
        row = dict(zip(self._columns, values, strict=True))
        for name in self._binary:
            row[name] = None if row[name] is None else base64.b64decode(row[name], validate=True)
        self._rows.append(row)
        if len(self._rows) >= CHUNK:
            self.flush()

    def flush(self) -> None:
        if self._rows and self._table is not None:
            self._connection.execute(self._table.insert(), self._rows)
        self._rows = []


def _check_end(said: dict[str, Any], rows: int, digest: str, lines: Iterator[tuple[bytes, Any]]) -> None:
    if (said.get("rows"), said.get("sha256")) != (rows, digest):
        raise ValueError("its checksum is another")
    if next(lines, None) is not None:
        raise ValueError("something follows its end")


def _check_references(connection: sa.Connection) -> None:
    if connection.exec_driver_sql("PRAGMA foreign_key_check").first() is not None:
        raise ValueError("rows refer to what is missing")


@contextmanager
def _complaints() -> Iterator[None]:
    """Whatever a damaged or foreign file leads to, as one error."""
    try:
        yield
    except (
        gzip.BadGzipFile,
        EOFError,
        zlib.error,
        ValueError,
        KeyError,
        TypeError,
        RecursionError,
        sa.exc.SQLAlchemyError,
    ) as error:
        raise GarageError(
            "malformed_request",
            N_("this is no whole backup of a garage: {reason}"),
            hint=N_("nothing was changed; take another file"),
            reason=str(error).partition("\n")[0][:200],
        ) from error
