"""Bringing a database to this version's schema."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from garage.db import loads
from garage.db.session import Database

MIGRATIONS = Path(__file__).parent / "migrations"


def _config() -> AlembicConfig:
    config = AlembicConfig()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def current(database: Database) -> str | None:
    """The revision of the database, None for an empty one."""
    with database.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def head() -> str | None:
    """The revision that this code needs."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def migrate(database: Database) -> tuple[str | None, str | None]:
    """Upgrade to head in one transaction; returns (revision before, revision after). Harmless when nothing is to do."""
    before, after = current(database), head()
    if before != after:
        config = _config()
        with database.engine.connect() as connection, _rebuilding(connection), connection.begin():
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            loads.install(connection)
            _check_references(connection)
    return before, after


@contextmanager
def _rebuilding(connection: Connection) -> Iterator[None]:
    """SQLite changes a table by making another and dropping the old one. With foreign keys enforced that fails where rows refer to
    it, or takes them along; it can only be switched outside of a transaction (sqlite.org/lang_altertable.html, “otheralter”)."""
    if connection.dialect.name != "sqlite":
        yield
        return
    connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
    connection.commit()
    try:
        yield
    finally:
        connection.exec_driver_sql("PRAGMA foreign_keys=ON")
        connection.commit()


def _check_references(connection: Connection) -> None:
    """Raises RuntimeError, which undoes the migration, where a row would refer to nothing."""
    if connection.dialect.name == "sqlite" and (broken := connection.exec_driver_sql("PRAGMA foreign_key_check").all()):
        raise RuntimeError(f"the migration would leave rows that refer to nothing: {broken[:5]}")
