"""Endpoints: the best first, the next when nobody answers, and no change to what works."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netd.core.endpoints import FIRST_PATIENCE, FRESH, MOST, PATIENCE, SILENT, Seen, Trial, look, order
from netd.wire.link import Endpoint

A, B, C = "[2001:db8:7::1]:51820", "203.0.113.9:51820", "203.0.113.9:40001"
NEVER = Seen()


def test_ipv6_comes_before_ipv4_and_public_before_private() -> None:
    own = ["192.168.1.7:51820", "[fd00::7]:51820", "100.64.1.2:51820", B, A]
    assert order(own, [C]) == (A, B, C, "[fd00::7]:51820", "192.168.1.7:51820", "100.64.1.2:51820")


def test_what_a_hub_sees_helps_where_the_peer_knows_only_its_inside() -> None:
    assert order(["192.168.1.7:51820"], [C]) == (C, "192.168.1.7:51820")


def test_a_family_that_this_node_lacks_is_left_out() -> None:
    assert order([A, B], own6=False) == (B,)
    assert order([A, B], own4=False) == (A,)


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1:1",
        "[::1]:1",
        "224.0.0.1:1",
        "0.0.0.0:1",
        "[fe80::1]:1",
        "203.0.113.9:0",
        "203.0.113.9:70000",
        "x:1",
        "",
        "999.1.1.1:5",
    ],
)
def test_what_no_peer_can_have_is_left_out(text: str) -> None:
    assert order([text, A]) == (A,)


@given(st.lists(st.from_type(str) | st.sampled_from([A, B, C]), max_size=30), st.lists(st.sampled_from([A, B, C])))
def test_candidates_are_some_of_the_given_each_once(own: list[str], outside: list[str]) -> None:
    found = order(own, outside)
    assert len(set(found)) == len(found) <= MOST
    assert set(found) <= {*own, *outside}
    assert all(msgspec.convert(text, Endpoint) for text in found if text in (A, B, C))


@pytest.mark.parametrize(("seen", "seconds"), [(NEVER, 6), (Seen(None, -500.0), 15)])
def test_the_best_is_tried_first_then_each_in_turn(seen: Seen, seconds: int) -> None:
    """A link that never worked has less patience than one that lost its peer."""
    trial, tried = Trial(), []
    for second in range(3 * seconds + 1):
        trial = look(trial, (A, B), seen, float(second))
        tried.append(trial.current)
    assert tried == [A] * seconds + [B] * seconds + [A] * seconds + [B]
    assert {FIRST_PATIENCE: NEVER, PATIENCE: Seen(None, -500.0)}[seconds] == seen


def test_a_handshake_ends_the_search() -> None:
    trial = look(Trial(), (A, B), NEVER, 0.0)
    for second in range(1, 200):
        trial = look(trial, (A, B), Seen(A, float(second - second % 100)), float(second))
        assert trial.current == A


def test_roaming_is_followed() -> None:
    """WireGuard saw the peer elsewhere: that is no candidate, and stays."""
    trial = look(Trial((A,), A, 0.0), (A, B), Seen("198.51.100.77:9", 99.0), 100.0)
    assert trial.current == "198.51.100.77:9"
    assert look(trial, (B,), Seen("198.51.100.77:9", 99.0), 101.0).current == "198.51.100.77:9"


def test_after_a_session_ends_there_are_15_seconds_more() -> None:
    trial = look(Trial((A, B), A, 0.0), (A, B), Seen(A, 10.0), 10.0 + FRESH - 1)
    late = 10.0 + FRESH - 1 + PATIENCE
    assert look(trial, (A, B), Seen(A, 10.0), late - 1).current == A
    assert look(trial, (A, B), Seen(A, 10.0), late).current == B


def test_a_lost_address_family_ends_a_session_at_once() -> None:
    """The line had IPv6 until now; what is left is the other candidate."""
    trial = Trial((A, B), A, 20.0)
    assert look(trial, (B,), Seen(A, 10.0, heard=20.0), 21.0).current == A
    assert look(trial, (B,), Seen(A, 10.0, heard=20.0, gone=True), 21.0).current == B


def test_silence_ends_a_session_before_its_time() -> None:
    """The handshake is fresh, but keepalives no longer come."""
    trial = Trial((A, B), A, 20.0)
    assert look(trial, (A, B), Seen(A, 10.0, heard=30.0), 30.0 + SILENT - 1).current == A
    assert look(trial, (A, B), Seen(A, 10.0, heard=30.0), 30.0 + SILENT).current == B


def test_what_a_hub_saw_anew_is_tried_at_once_but_never_in_place_of_what_works() -> None:
    waiting = look(Trial(), (A,), NEVER, 0.0)
    assert look(waiting, (A, C), NEVER, 1.0) == Trial((A, C), C, 1.0)
    assert look(waiting, (A, C), Seen(A, 0.5), 1.0).current == A


def test_without_candidates_the_peer_has_to_begin() -> None:
    trial = look(Trial(), (), NEVER, 0.0)
    assert trial.current is None
    assert look(trial, (), Seen(B, 5.0), 6.0).current == B


def test_a_clock_that_was_set_back_stops_nothing() -> None:
    trial = look(Trial(), (A, B), NEVER, 1000.0)
    assert look(trial, (A, B), NEVER, 10.0).since == 10.0
    assert look(trial, (A, B), Seen(A, 1000.0), 10.0).since == 10.0


@given(st.lists(st.sampled_from([A, B, C, "[fd00::7]:1"]), min_size=1, max_size=4, unique=True))
def test_while_nobody_answers_every_candidate_has_its_turn(names: list[str]) -> None:
    trial, tried = Trial(), set()
    for turn in range(len(names)):
        trial = look(trial, tuple(names), NEVER, turn * PATIENCE)
        tried.add(trial.current)
    assert tried == set(names)
