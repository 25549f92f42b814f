"""After a restore the node is right where the database knows less, and nothing is decided for want of a look."""

from __future__ import annotations

import pytest

from garage.core.adoption import Do, Row, decided, differences
from garage.core.hypervisor_types import Domain, Power
from garage.core.states import State

ON, OFF = Domain(Power.RUNNING), Domain(Power.OFF)
Seen = dict[str, dict[str, Domain]]


def row(state: State = State.READY, node: str = "a") -> Row:
    return Row("m", "one", node, state)


@pytest.mark.parametrize(
    ("rows", "seen", "do"),
    [
        ([row()], {"a": {"m": ON}}, []),
        ([row()], {"a": {}}, [("a", Do.RECOVER)]),
        ([row()], {"a": {}, "b": {"m": ON}}, [("b", Do.HERE)]),
        ([row()], {"b": {"m": ON}}, [("b", Do.HERE)]),
        ([row(State.STOPPED)], {"b": {"m": OFF}}, [("b", Do.KEEP)]),
        ([row()], {"a": {"m": ON}, "b": {"m": OFF}}, [("b", Do.KEEP)]),
        ([row(State.STOPPED)], {"a": {"m": ON}}, [("a", Do.RUNS)]),
        ([], {"a": {"m": ON}}, [("a", Do.KEEP)]),
        ([row(State.GONE)], {"a": {"m": ON}}, [("a", Do.KEEP)]),
        ([row()], {"b": {}}, []),
    ],
)
def test_what_becomes_of_each(rows: list[Row], seen: Seen, do: list[tuple[str, Do]]) -> None:
    assert [(step.node, step.do) for step in differences(rows, seen)] == do


def test_a_missing_machine_keeps_its_node_waiting_while_it_may_be_elsewhere() -> None:
    seen: Seen = {"a": {}, "b": {}}
    steps = differences([row()], seen)
    assert decided(steps, seen, ["c"]) == ["b"]
    assert decided(steps, seen, []) == ["a", "b"]


def test_one_that_is_there_and_off_is_no_missing_one() -> None:
    seen: Seen = {"a": {"m": OFF}}
    steps = differences([row()], seen)
    assert [step.do for step in steps] == [Do.RECOVER]
    assert decided(steps, seen, ["c"]) == ["a"]
