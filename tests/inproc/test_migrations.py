"""A database of an earlier version, with rows in every table, comes to this version with all of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from garage.db.migrate import MIGRATIONS, current, head, migrate
from garage.db.models import Base
from garage.db.session import Database
from tests.inproc.empty import empty_database

ROWS = 3
DERIVED = {"node_load"}
"""Tables that are made anew from others."""
Rows = dict[str, list[dict[str, Any]]]


def scripts() -> AlembicConfig:
    config = AlembicConfig()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


REVISIONS = [script.revision for script in reversed(list(ScriptDirectory.from_config(scripts()).walk_revisions()))]


@pytest.fixture(params=["sqlite", "postgres"])
def database(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Database]:
    with empty_database(request, tmp_path) as url:
        made = Database(url)
        yield made
        made.close()


def upgrade(database: Database, revision: str) -> None:
    config = scripts()
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def value(column: sa.Column[Any], number: int) -> Any:
    """Of the column's type, another one in each row; rows refer to the one with the same number."""
    if column.foreign_keys:
        return value(next(iter(column.foreign_keys)).column, number)
    kind = column.type
    if isinstance(kind, sa.JSON):
        return {"row": number}
    if isinstance(kind, sa.Boolean):
        return bool(number % 2)
    if isinstance(kind, sa.Float):
        return number + 0.5
    if isinstance(kind, sa.Integer):
        return number
    if isinstance(kind, sa.LargeBinary):
        return b"row %d" % number
    length = getattr(kind, "length", None) or 20
    return f"{column.name[: length - 2]}-{number}"


def fill(database: Database) -> Rows:
    """`ROWS` rows in each table that there is; returns them."""
    tables = reflected(database)
    rows = {
        table.name: [{column.name: value(column, number) for column in table.columns} for number in range(1, ROWS + 1)]
        for table in tables.sorted_tables
        if table.name not in {"alembic_version", *DERIVED}
    }
    with database.engine.begin() as connection:
        for name, items in rows.items():
            connection.execute(tables.tables[name].insert(), items)
    return rows


DROPPED = {("node", "next_number"), ("node", "owned_until")}
"""Columns that a later version has no more."""


def reflected(database: Database) -> sa.MetaData:
    tables = sa.MetaData()
    tables.reflect(database.engine)
    return tables


def content(database: Database) -> Rows:
    tables = reflected(database)
    with database.engine.connect() as connection:
        return {
            table.name: [dict(row) for row in connection.execute(table.select()).mappings()]
            for table in tables.sorted_tables
        }


def as_text(rows: list[dict[str, Any]]) -> set[str]:
    return {json.dumps(row, sort_keys=True, default=repr) for row in rows}


@pytest.mark.parametrize("revision", REVISIONS)
def test_every_row_comes_along(database: Database, revision: str) -> None:
    upgrade(database, revision)
    before = fill(database)
    assert migrate(database) == (revision, head())
    after = content(database)
    for name, rows in before.items():
        columns = [key for key in rows[0] if (name, key) not in DROPPED]
        kept = [{key: row.get(key) for key in columns} for row in after[name]]
        assert as_text(kept) >= as_text([{key: row[key] for key in columns} for row in rows]), name
    if not database.is_sqlite:
        return
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"


def test_the_migrations_make_what_the_models_say(database: Database) -> None:
    migrate(database)
    with database.engine.connect() as connection:
        found = MigrationContext.configure(connection, opts={"render_as_batch": True})
        assert compare_metadata(found, Base.metadata) == []
    assert migrate(database) == (head(), head()) == (current(database), REVISIONS[-1])
