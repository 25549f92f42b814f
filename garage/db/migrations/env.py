"""Alembic's entry: runs on the connection that `garage.db.migrate` hands over.

Two set-ups at a time: the second waits here for the first one's transaction to end, and then finds nothing to do. Those who write
(`Database.write`) wait as well.
"""

from __future__ import annotations

from alembic import context
from sqlalchemy import text

from garage.db.models import Base
from garage.db.session import WRITERS


def run() -> None:
    connection = context.config.attributes["connection"]
    if connection.dialect.name == "sqlite":
        connection.execute(text("BEGIN IMMEDIATE"))
    else:
        connection.execute(text(f"SELECT pg_advisory_xact_lock({WRITERS})"))
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


run()
