"""What an admin may say of a node in which state."""

from __future__ import annotations

import itertools

import pytest

from garage.core.node_states import TABLE, NodeEvent, NodeState, after
from garage.errors import GarageError

S, E = NodeState, NodeEvent


def test_the_table() -> None:
    assert {(state.value, event.value, to.value) for (state, event), to in TABLE.items()} == {
        ("active", "drain", "draining"),
        ("draining", "drain", "draining"),
        ("maintenance", "drain", "draining"),
        ("draining", "drained", "maintenance"),
        ("active", "maintain", "maintenance"),
        ("draining", "maintain", "maintenance"),
        ("draining", "activate", "active"),
        ("maintenance", "activate", "active"),
    }


@pytest.mark.parametrize(
    ("state", "event"), [pair for pair in itertools.product(NodeState, NodeEvent) if pair not in TABLE]
)
def test_what_is_not_listed_is_wrong_state(state: NodeState, event: NodeEvent) -> None:
    with pytest.raises(GarageError, match=f"node1 is {state.value}") as caught:
        after(state, event, name="node1")
    assert caught.value.code == "wrong_state"


def test_every_state_leads_back_to_active() -> None:
    assert all((state, E.ACTIVATE) in TABLE for state in S if state is not S.ACTIVE)
