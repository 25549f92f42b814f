"""The database itself refuses to change an entry of the audit log, or a seal: a defect of ours cannot, and whoever does it by hand has to
remove this first. Rows are only added, and the oldest removed (`services.sealing.truncate`)."""

from __future__ import annotations

from sqlalchemy import Connection

TABLES = ("audit", "audit_seal")
REFUSAL = "the audit log is append-only"


def install(connection: Connection) -> None:
    """Called at the end of each migration; may be called again."""
    for statement in _sqlite() if connection.dialect.name == "sqlite" else _postgresql():
        connection.exec_driver_sql(statement)


def _sqlite() -> list[str]:
    return [
        statement
        for table in TABLES
        for statement in (
            f"DROP TRIGGER IF EXISTS {table}_kept",
            f"CREATE TRIGGER {table}_kept BEFORE UPDATE ON {table} BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END",
        )
    ]


def _postgresql() -> list[str]:
    body = f"BEGIN RAISE EXCEPTION '{REFUSAL}'; END"
    function = f"CREATE OR REPLACE FUNCTION garage_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$"
    triggers = [
        statement
        for table in TABLES
        for statement in (
            f"DROP TRIGGER IF EXISTS {table}_kept ON {table}",
            f"CREATE TRIGGER {table}_kept BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION garage_append_only()",
        )
    ]
    return [function, *triggers]
