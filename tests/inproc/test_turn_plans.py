"""What a node's turn asks costs as much as the node holds, not as the site holds: thousands of turns come together at a start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session

from garage.db.models import Node
from garage.services import nodes, work
from garage.services.context import Caller, Context


def _spec(session: Session, ctx: Context) -> None:
    nodes.build_spec(session, ctx, session.get_one(Node, ctx.config.node), limits=True)


TURNS: dict[str, Callable[[Session, Context], object]] = {
    "work": lambda _, ctx: work.load(ctx, ctx.config.node),
    "spec": _spec,
}
EXPLAIN = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN"}
WHOLE = {"sqlite": "SCAN machine", "postgresql": "Seq Scan on machine"}


@pytest.mark.parametrize("turn", TURNS)
def test_no_turn_reads_all_machines(ctx: Context, admin: Caller, turn: str) -> None:
    asked: list[tuple[str, Any]] = []

    def heard(_connection: object, _cursor: object, text: str, values: Any, *_: object) -> None:
        asked.append((text, values))

    dialect = ctx.db.engine.dialect.name
    with ctx.db.read() as session:
        event.listen(ctx.db.engine, "before_cursor_execute", heard)
        TURNS[turn](session, ctx)
        event.remove(ctx.db.engine, "before_cursor_execute", heard)
        connection = session.connection()
        if not ctx.db.is_sqlite:
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")  # of an empty table it is the cheapest
        about = [(f"{EXPLAIN[dialect]} {text}", values) for text, values in asked if "FROM machine" in text]
        plans = [str(row[-1]) for text, values in about for row in connection.exec_driver_sql(text, values)]
    assert any("ix_machine_moving_to" in step for step in plans)
    assert [step for step in plans if WHOLE[dialect] in step] == []
