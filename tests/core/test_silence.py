"""Who is silent, by two ways and a clock that nobody sets; and when the fault is ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garage.core.silence import SILENT_AFTER, Ages, Contact, Silence, judge, ours, silence

CONTACTS = st.lists(
    st.builds(Contact, st.text("abcdefgh", min_size=1, max_size=3), st.booleans(), st.floats(0, 60), st.booleans()),
    unique_by=lambda contact: contact.name,
    max_size=40,
)


@pytest.mark.parametrize(
    ("nodes", "silent", "expected"),
    [
        (1, 0, False),
        (1, 1, False),
        (2, 1, False),
        (2, 2, True),
        (3, 1, False),
        (3, 2, True),
        (4, 1, False),
        (4, 2, True),
        (9, 2, True),
        (10, 2, False),
        (10, 3, True),
        (1250, 250, False),
        (1250, 251, True),
    ],
)
def test_when_the_fault_is_ours(nodes: int, silent: int, expected: bool) -> None:
    assert ours(nodes, silent) is expected


@given(CONTACTS)
def test_only_what_neither_way_reaches_is_silent(contacts: list[Contact]) -> None:
    found = judge(contacts).silent
    for contact in contacts:
        assert (contact.name in found) == (contact.hypervisor_away and contact.netd_age > SILENT_AFTER)


@given(CONTACTS)
def test_nothing_is_lost_while_many_are_silent(contacts: list[Contact]) -> None:
    verdict = judge(contacts)
    expected = [contact for contact in contacts if contact.expected]
    lost = [contact.name for contact in contacts if verdict.lost(contact.name)]
    silent = sum(contact.name in verdict.silent for contact in expected)
    assert silent <= 1 or silent <= len(expected) / 5 or not lost
    assert set(lost) <= verdict.silent


@given(CONTACTS)
def test_nodes_in_maintenance_tell_nothing_of_us(contacts: list[Contact]) -> None:
    assert judge(contacts).ours == judge([contact for contact in contacts if contact.expected]).ours


@given(st.lists(st.tuples(st.floats(0, 5), st.booleans(), st.floats(-1e5, 1e5)), min_size=1, max_size=60))
def test_a_node_that_reports_is_never_old_whatever_the_wall_clock_does(steps: list[tuple[float, bool, float]]) -> None:
    """Steps of (seconds that pass, whether a report came, how the wall clock jumps)."""
    ages, now, wall, at, heard = Ages(), 0.0, 1e9, 1e9, 0.0
    ages.look({"a": at}, now)
    for seconds, reported, jump in steps:
        now, wall = now + seconds, wall + seconds + jump
        if reported and wall != at:
            at, heard = wall, now
        assert ages.look({"a": at}, now)["a"] == pytest.approx(now - heard)


def test_what_was_never_heard_grows_old_and_what_is_removed_is_forgotten() -> None:
    ages = Ages()
    assert ages.look({"a": None}, 5.0) == {"a": 0.0}
    assert ages.look({"a": None}, 20.0) == {"a": 15.0}
    assert ages.look({}, 21.0) == {}
    assert ages.look({"a": None}, 22.0) == {"a": 0.0}


def test_one_way_alone_is_no_silence() -> None:
    assert [silence(*pair) for pair in ((False, False), (True, False), (False, True), (True, True))] == [
        Silence.NONE,
        Silence.HYPERVISOR,
        Silence.NETD,
        Silence.BOTH,
    ]
