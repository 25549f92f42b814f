"""Bringing a database to this version's schema."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

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
        with database.engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    return before, after
