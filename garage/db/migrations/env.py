"""Alembic's entry: runs on the connection that `garage.db.migrate` hands over."""

from __future__ import annotations

from alembic import context
from sqlalchemy import text

from garage.db.models import Base


def run() -> None:
    connection = context.config.attributes["connection"]
    if connection.dialect.name == "sqlite":
        connection.execute(text("BEGIN IMMEDIATE"))  # two set-ups at a time: the second waits, then finds nothing to do
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


run()
