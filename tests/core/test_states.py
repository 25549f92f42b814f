"""The table of DESIGN, said once more from its text and compared."""

from __future__ import annotations

import itertools

import pytest

from garage.core.states import TABLE, Event, State, after
from garage.errors import GarageError

LIVING = set(State) - {State.GONE, State.DELETING}


def test_every_state_but_gone_can_be_deleted_and_nothing_leaves_gone() -> None:
    assert {state for state, event in TABLE if event is Event.DELETE} == LIVING
    assert not [pair for pair in TABLE if pair[0] is State.GONE]


def test_ready_is_reached_only_by_an_answer_of_ssh() -> None:
    assert {event for (_, event), state in TABLE.items() if state is State.READY} == {Event.ANSWERED}


@pytest.mark.parametrize(("state", "event"), [pair for pair in itertools.product(State, Event) if pair not in TABLE])
def test_a_pair_that_is_not_listed_is_wrong_state(state: State, event: Event) -> None:
    with pytest.raises(GarageError) as caught:
        after(state, event, name="vm7")
    assert caught.value.code == "wrong_state"
    assert f"vm7 is {state.value}" in caught.value.message


@pytest.mark.parametrize(("pair", "state"), TABLE.items())
def test_a_listed_pair_moves(pair: tuple[State, Event], state: State) -> None:
    assert after(*pair, name="vm7") is state
