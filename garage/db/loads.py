"""The triggers that keep `node_load`: sums that cannot drift, since the database itself changes them with the rows that they sum up.

SQLite drops a table's triggers when a migration rebuilds the table, so `install` runs after every migration, and counts anew.
"""

from __future__ import annotations

from sqlalchemy import Connection

from garage.core.states import COUNTED, RUNNING


def _listed(states: frozenset[str]) -> str:
    return ", ".join(f"'{state}'" for state in sorted(states))


_COUNTED, _RUNNING = _listed(frozenset(COUNTED)), _listed(frozenset(RUNNING))
_HOLDS = "state, node, moving_to, vcpus, memory_mib, disk_gib"
"""Columns of `machine` from which its hold on a node follows."""
_FACTS = "facts, state, silent_since, hypervisor_error"
"""Columns of `node` from which its row's other half follows."""
_CAPACITY = "takes, vcpus, memory_mib, available_mib, disk_free_gib, disk_total_gib"
_SUMS = "machines, used_vcpus, used_memory_mib, used_disk_gib"
_DISKS = {"volume": "size_gib", "volume_snapshot": "held_gib"}
"""Tables beside machines whose rows hold disk on their node, and the column that says how much."""


def install(connection: Connection) -> None:
    """Make the triggers and every node's row anew, in the caller's transaction."""
    sqlite = connection.dialect.name == "sqlite"
    for statement in _sqlite() if sqlite else _postgresql():
        connection.exec_driver_sql(statement)
    connection.exec_driver_sql("DELETE FROM node_load")
    connection.exec_driver_sql(
        f"INSERT INTO node_load (node, {_CAPACITY}, {_SUMS}) SELECT name, {_facts('node', sqlite)}, 0, 0, 0, 0 FROM node"  # noqa: S608
    )
    for node, *held in sums(connection):
        values = ", ".join(f"{name} = {int(value)}" for name, value in zip(_SUMS.split(", "), held, strict=True))
        connection.exec_driver_sql(f"UPDATE node_load SET {values} WHERE node = {_quoted(node)}")  # noqa: S608


def drift(connection: Connection) -> list[str]:
    """Nodes whose row is not what their machines sum up to; empty unless the triggers are wrong or missing."""
    kept = {node: tuple(held) for node, *held in connection.exec_driver_sql(f"SELECT node, {_SUMS} FROM node_load")}  # noqa: S608
    true: dict[str, tuple[int, ...]] = {
        node: (0, 0, 0, 0) for (node,) in connection.exec_driver_sql("SELECT name FROM node")
    }
    true |= {node: tuple(int(value) for value in held) for node, *held in sums(connection)}
    return sorted(node for node in kept.keys() | true.keys() if kept.get(node) != true.get(node))


def sums(connection: Connection) -> list[tuple[str, int, int, int, int]]:
    """(node, machines, vCPUs, MiB, GiB) from the rows themselves, of machines and `_DISKS`; one that moves holds room on both nodes."""
    machines = {node: held for node, *held in _of_machines(connection)}
    each = " UNION ALL ".join(f"SELECT node, {gib} AS gib FROM {table}" for table, gib in _DISKS.items())  # noqa: S608
    query = f"SELECT node, sum(gib) FROM ({each}) held GROUP BY node"  # noqa: S608
    volumes: dict[str, int] = dict(connection.exec_driver_sql(query).all())
    nothing = [0, 0, 0, 0]
    found = {node: machines.get(node, nothing) for node in machines.keys() | volumes.keys()}
    return [
        (node, int(count), int(vcpus), int(mib), int(gib) + int(volumes.get(node, 0)))
        for node, (count, vcpus, mib, gib) in found.items()
    ]


def _of_machines(connection: Connection) -> list[tuple[str, int, int, int, int]]:
    columns = "state, vcpus, memory_mib, disk_gib"
    held = (
        f"SELECT node, {columns} FROM machine WHERE state IN ({_COUNTED}) UNION ALL SELECT moving_to, {columns} "  # noqa: S608
        f"FROM machine WHERE state IN ({_COUNTED}) AND moving_to IS NOT NULL AND moving_to != node"
    )
    running = [f"sum(CASE WHEN state IN ({_RUNNING}) THEN {what} ELSE 0 END)" for what in ("vcpus", "memory_mib")]
    query = f"SELECT node, count(*), {', '.join(running)}, sum(disk_gib) FROM ({held}) held GROUP BY node"  # noqa: S608
    return [tuple(row) for row in connection.exec_driver_sql(query)]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _facts(row: str, sqlite: bool) -> str:
    """The values of `_CAPACITY` for a node's row."""

    def fact(name: str, kind: str) -> str:
        if sqlite:
            return f"json_extract({row}.facts, '$.{name}')"
        return f"({row}.facts ->> '{name}')::double precision::{kind}"

    whole, real = "integer", "double precision"
    known = f"{fact('vcpus', whole)} IS NOT NULL"
    takes = f"({row}.state = 'active' AND {row}.silent_since IS NULL AND {row}.hypervisor_error = '' AND {known})"
    sizes = (fact("vcpus", whole), fact("memory_mib", whole), fact("disk_free_gib", real), fact("disk_total_gib", real))
    vcpus, memory, free, total = (f"coalesce({size}, 0)" for size in sizes)
    return ", ".join((takes, vcpus, memory, fact("memory_available_mib", whole), free, total))


def _change(row: str, sign: str) -> str:
    """What a machine's row adds to the sums, or takes from them."""
    runs = f"(CASE WHEN {row}.state IN ({_RUNNING}) THEN 1 ELSE 0 END)"
    amounts = ("1", f"{row}.vcpus * {runs}", f"{row}.memory_mib * {runs}", f"{row}.disk_gib")
    values = ", ".join(
        f"{name} = {name} {sign} {amount}" for name, amount in zip(_SUMS.split(", "), amounts, strict=True)
    )
    return f"UPDATE node_load SET {values} WHERE node IN ({row}.node, {row}.moving_to) AND {row}.state IN ({_COUNTED});"  # noqa: S608


def _disk(row: str, sign: str, gib: str) -> str:
    """What a row of `_DISKS` adds to the sums, or takes from them."""
    return f"UPDATE node_load SET used_disk_gib = used_disk_gib {sign} {row}.{gib} WHERE node = {row}.node;"  # noqa: S608


def _added(sqlite: bool) -> str:
    return f"INSERT INTO node_load (node, {_CAPACITY}, {_SUMS}) VALUES (NEW.name, {_facts('NEW', sqlite)}, 0, 0, 0, 0);"  # noqa: S608


def _changed(sqlite: bool) -> str:
    if sqlite:
        return f"UPDATE node_load SET ({_CAPACITY}) = (SELECT {_facts('NEW', sqlite)}) WHERE node = NEW.name;"  # noqa: S608
    return f"UPDATE node_load SET ({_CAPACITY}) = ROW({_facts('NEW', sqlite)}) WHERE node = NEW.name;"  # noqa: S608


def _sqlite() -> list[str]:
    """A statement each. A body names no other table: SQLite refuses to rename one that a trigger elsewhere mentions."""
    made = (
        ("machine_load_new", "AFTER INSERT ON machine", _change("NEW", "+")),
        ("machine_load_gone", "AFTER DELETE ON machine", _change("OLD", "-")),
        ("machine_load_changed", f"AFTER UPDATE OF {_HOLDS} ON machine", _change("OLD", "-") + _change("NEW", "+")),
        ("node_load_new", "AFTER INSERT ON node", _added(sqlite=True)),
        ("node_load_changed", f"AFTER UPDATE OF {_FACTS} ON node", _changed(sqlite=True)),
        *(trigger for table, gib in _DISKS.items() for trigger in _disk_triggers(table, gib)),
    )
    return [
        statement
        for name, when, body in made
        for statement in (f"DROP TRIGGER IF EXISTS {name}", f"CREATE TRIGGER {name} {when} BEGIN {body} END")
    ]


def _disk_triggers(table: str, gib: str) -> list[tuple[str, str, str]]:
    added, taken = _disk("NEW", "+", gib), _disk("OLD", "-", gib)
    return [
        (f"{table}_load_new", f"AFTER INSERT ON {table}", added),
        (f"{table}_load_gone", f"AFTER DELETE ON {table}", taken),
        (f"{table}_load_changed", f"AFTER UPDATE OF {gib} ON {table}", taken + added),
    ]


def _postgresql() -> list[str]:
    """Functions, and the triggers that call them."""
    machine = f"IF TG_OP <> 'INSERT' THEN {_change('OLD', '-')} END IF; IF TG_OP <> 'DELETE' THEN {_change('NEW', '+')} END IF;"
    disks = {
        table: f"IF TG_OP <> 'INSERT' THEN {_disk('OLD', '-', gib)} END IF; IF TG_OP <> 'DELETE' THEN {_disk('NEW', '+', gib)} END IF;"
        for table, gib in _DISKS.items()
    }
    node = f"IF TG_OP = 'INSERT' THEN {_added(sqlite=False)} ELSE {_changed(sqlite=False)} END IF;"
    functions = [
        f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NULL; END $$"
        for name, body in (
            ("garage_machine_load", machine),
            *((f"garage_{table}_load", body) for table, body in disks.items()),
            ("garage_node_load", node),
        )
    ]
    made = (
        ("machine_load", "machine", f"INSERT OR DELETE OR UPDATE OF {_HOLDS}", "garage_machine_load"),
        *(
            (f"{table}_load", table, f"INSERT OR DELETE OR UPDATE OF {gib}", f"garage_{table}_load")
            for table, gib in _DISKS.items()
        ),
        ("node_load_kept", "node", f"INSERT OR UPDATE OF {_FACTS}", "garage_node_load"),
    )
    triggers = [
        statement
        for name, table, when, function in made
        for statement in (
            f"DROP TRIGGER IF EXISTS {name} ON {table}",
            f"CREATE TRIGGER {name} AFTER {when} ON {table} FOR EACH ROW EXECUTE FUNCTION {function}()",
        )
    ]
    return [*functions, *triggers]
