"""Bringing a database to this version's schema. Alembic is imported when it is needed: it is a third of a second of a web process's start,
which migrates nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from garage.db import append_only, loads
from garage.db.session import BUSY_TIMEOUT_MS, Database
from garage.errors import N_, GarageError

if TYPE_CHECKING:
    from alembic.config import Config as AlembicConfig
    from alembic.script import ScriptDirectory

MIGRATIONS = Path(__file__).parent / "migrations"
PATIENCE_MS = 600_000
"""How long one set-up waits for another's migration; a large database takes longer than a writer's patience."""


def _config() -> AlembicConfig:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def current(database: Database) -> str | None:
    """The revision of the database, None for an empty one. Raises `unavailable` where it does not answer."""
    from alembic.runtime.migration import MigrationContext

    with database.read() as session:
        return MigrationContext.configure(session.connection()).get_current_revision()


def head() -> str | None:
    """The revision that this code needs."""
    return _scripts().get_current_head()


def _scripts() -> ScriptDirectory:
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(_config())


def known(revision: str) -> bool:
    """Whether this code knows how to get from that revision to its own."""
    return revision in {script.revision for script in _scripts().walk_revisions()}


def migrate(database: Database) -> tuple[str | None, str | None]:
    """Upgrade to head in one transaction; returns (revision before, revision after). Harmless when nothing is to do, and when others do
    the same at this moment. A migration that fails leaves the database as it was, and raises `config`."""
    before, after = current(database), head()
    if before is not None and not known(before):
        raise GarageError(
            "config",
            N_("the database is of another version than this program ({revision})"),
            hint=N_("run the newer program again, or restore a backup"),
            revision=before,
        )
    if before != after:
        upgrade(database)
    return before, after


def upgrade(database: Database, to: str = "head") -> None:
    """To this version's schema, or to that of an earlier revision which the code still knows."""
    from alembic import command

    config = _config()
    try:
        with database.engine.connect() as connection, _prepared(connection), connection.begin():
            config.attributes["connection"] = connection
            command.upgrade(config, to)
            if to == "head":
                loads.install(connection)
                append_only.install(connection)
            _check_references(connection)
    except GarageError:
        raise
    except Exception as error:
        text = N_("the database could not be brought to this version, and is as it was before: {reason}")
        hint = N_("the program of before still works with it; mend the cause, then run “garage-server migrate”")
        raise GarageError("config", text, hint=hint, reason=str(getattr(error, "orig", error))[:500]) from error


_SETTINGS = {
    "sqlite": (
        ("PRAGMA foreign_keys=OFF", f"PRAGMA busy_timeout={PATIENCE_MS}"),
        ("PRAGMA foreign_keys=ON", f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}"),
    ),
    "postgresql": ((f"SET lock_timeout={PATIENCE_MS}",), ("RESET lock_timeout",)),
}
"""What a migrating connection says first, and in the end. SQLite changes a table by making another and dropping the old one: with
foreign keys enforced that fails where rows refer to it, or takes them along; it can only be switched outside of a transaction
(sqlite.org/lang_altertable.html, “otheralter”)."""


@contextmanager
def _prepared(connection: Connection) -> Iterator[None]:
    before, after = _SETTINGS[connection.dialect.name]
    _say(connection, *before)
    try:
        yield
    finally:
        _say(connection, *after)


def _say(connection: Connection, *statements: str) -> None:
    for statement in statements:
        connection.exec_driver_sql(statement)
    connection.commit()


def _check_references(connection: Connection) -> None:
    """Raises RuntimeError, which undoes the migration, where a row would refer to nothing."""
    if connection.dialect.name == "sqlite" and (broken := connection.exec_driver_sql("PRAGMA foreign_key_check").all()):
        raise RuntimeError(f"the migration would leave rows that refer to nothing: {broken[:5]}")
