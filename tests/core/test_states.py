"""The table of states: that of DESIGN said once more and compared, with the pairs beyond it that docs/decisions/0030-worker.md explains."""

from __future__ import annotations

import itertools

import pytest

from garage.core.states import TABLE, Event, State, after
from garage.errors import GarageError

S, E = State, Event
LIVING = set(State) - {State.GONE, State.DELETING}
DESIGN = {
    (S.REQUESTED, E.PLACED): S.PREPARING,
    (S.REQUESTED, E.REFUSED): S.FAILED,
    (S.SPARE, E.TAKEN): S.PREPARING,
    (S.SPARE, E.AGED): S.DELETING,
    (S.PREPARING, E.IDENTIFIED): S.READY,
    (S.PREPARING, E.STARTED): S.BOOTING,
    (S.PREPARING, E.ERROR): S.FAILED,
    (S.BOOTING, E.ANSWERED): S.READY,
    (S.BOOTING, E.ERROR): S.FAILED,
    (S.READY, E.STOP): S.STOPPING,
    (S.READY, E.SUSPEND): S.SUSPENDED,
    (S.READY, E.POWERED_OFF): S.STOPPED,
    (S.READY, E.SILENT): S.UNREACHABLE,
    (S.STOPPING, E.OFF): S.STOPPED,
    **{(state, E.START): S.BOOTING for state in (S.STOPPED, S.SUSPENDED, S.FAILED)},
    (S.UNREACHABLE, E.FOUND_RUNNING): S.BOOTING,
    (S.UNREACHABLE, E.FOUND_OFF): S.STOPPED,
    (S.UNREACHABLE, E.DISK_GONE): S.LOST,
    **{(state, E.DELETE): S.DELETING for state in LIVING},
    (S.DELETING, E.DELETED): S.GONE,
}
BEYOND = {
    (S.BOOTING, E.STOP): S.STOPPING,
    (S.BOOTING, E.POWERED_OFF): S.STOPPED,
    (S.BOOTING, E.SILENT): S.UNREACHABLE,
    (S.READY, E.ERROR): S.FAILED,
    (S.FAILED, E.STOP): S.STOPPING,
    **{(state, E.REBUILD): S.PREPARING for state in (S.BOOTING, S.READY, S.STOPPED, S.SUSPENDED, S.FAILED)},
}


def test_the_table_is_designs_and_what_has_a_reason() -> None:
    assert DESIGN | BEYOND == TABLE


def test_every_state_but_gone_can_be_deleted_and_nothing_leaves_gone() -> None:
    assert {state for state, event in TABLE if event is Event.DELETE} == LIVING
    assert not [pair for pair in TABLE if pair[0] is State.GONE]


def test_ready_is_reached_only_by_an_answer_of_ssh() -> None:
    assert {event for (_, event), state in TABLE.items() if state is State.READY} == {Event.ANSWERED, Event.IDENTIFIED}


@pytest.mark.parametrize(("state", "event"), [pair for pair in itertools.product(State, Event) if pair not in TABLE])
def test_a_pair_that_is_not_listed_is_wrong_state(state: State, event: Event) -> None:
    with pytest.raises(GarageError) as caught:
        after(state, event, name="vm7")
    assert caught.value.code == "wrong_state"
    assert f"vm7 is {state.value}" in caught.value.message


@pytest.mark.parametrize(("pair", "state"), TABLE.items())
def test_a_listed_pair_moves(pair: tuple[State, Event], state: State) -> None:
    assert after(*pair, name="vm7") is state
