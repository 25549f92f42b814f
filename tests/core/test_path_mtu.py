"""Finding how large a link's packets may be: sizes in, MTU out, whatever is lost on the way."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netd.core import echo
from netd.core.path_mtu import (
    CEILING_HOLDS,
    EVERY,
    LEAST,
    MOST,
    Path,
    Search,
    after,
    again,
    begin,
    due,
    ends,
    largest,
    search,
    turn,
)
from netd.core.volume import OVERHEAD

V4, V6 = "192.0.2.7", "2001:db8::7"
Passes = Callable[[int], bool]


def find(found: Search, passes: Passes) -> tuple[int, int]:
    """(largest size that passed, turns)."""
    turns = 0
    while found.asked:
        found, turns = after(found, {size for size in found.asked if passes(size)}), turns + 1
        assert turns < 40
    return found.passed, turns


def settle(path: Path, outside: Passes, inside: Passes, *, present: int = MOST, route: int = 1500) -> Path:
    """The path after a whole search of both stages; `outside` is asked for sizes inside the tunnel, too."""
    while path.stage != "rest":
        passes = outside if path.stage == "outside" else inside
        path = turn(path, {size for size in path.search.asked if passes(size)}, present, route, 100.0)
    return path


def upto(limit: int) -> Passes:
    return lambda size: size <= limit


@given(st.integers(LEAST, MOST), st.integers(LEAST, MOST))
def test_the_largest_size_that_passes_is_found(limit: int, top: int) -> None:
    passed, turns = find(search(top), upto(limit))
    assert passed == min(limit, top)
    assert turns <= 5 + 4 * 3


def test_one_turn_is_enough_where_the_largest_passes() -> None:
    assert find(search(MOST), upto(9000)) == (MOST, 1)


def test_nobody_answering_is_no_size() -> None:
    assert find(search(MOST), upto(0)) == (0, 5)


def test_lost_echoes_are_asked_for_again() -> None:
    drawn = random.Random(7)
    for _ in range(100):
        passed, _turns = find(search(MOST), lambda size: size <= 1394 and drawn.random() > 0.02)
        assert passed == 1394


@pytest.mark.parametrize(
    ("line", "v4", "v6"),
    [(1500, 1420, 1420), (1492, 1420, 1412), (1460, 1400, 1380), (1454, 1394, 1374), (1280, 1280, 1280)],
)
def test_what_the_first_device_says_counts_at_once(line: int, v4: int, v6: int) -> None:
    assert (largest(V4, line), largest(V6, line)) == (v4, v6)
    assert begin(V4, line).mtu == (v4 if v4 < MOST else None), "without a limit an interface keeps what it has"


def test_another_link_to_the_same_host_is_believed_at_first() -> None:
    assert begin(V4, 1500, 1394).mtu == 1394
    assert begin(V4, 1454, 1420).mtu == 1394
    assert begin(V4, 1500, 1420).mtu == 1420
    assert settle(begin(V4, 1500, 1394), upto(1374), upto(1374)).mtu == 1374


def test_a_narrow_way_outside_gives_the_mtu() -> None:
    path = settle(begin(V4, 1500), upto(1394), upto(1394))
    assert (path.mtu, path.stage, path.ended) == (1394, "rest", 100.0)


def test_a_way_that_only_shows_inside_gives_the_mtu_and_holds() -> None:
    """Nobody answers outside; or a provider's NAT answers, in front of the narrow part."""
    for outside in (upto(0), upto(9000)):
        path = settle(begin(V4, 1500), outside, upto(1360))
        assert path.mtu == 1360
        later = again(path, 1500, 100.0 + EVERY)
        assert later.top == 1360, "what the inside took away is not tried again soon"
        assert again(path, 1500, 101.0 + CEILING_HOLDS).top == MOST


def test_a_link_that_is_down_says_nothing() -> None:
    path = settle(begin(V4, 1500), upto(0), upto(0))
    assert path.mtu == MOST
    low = settle(replace(begin(V4, 1454), mtu=1394), upto(0), upto(0), route=1454)
    assert low.mtu == 1394


def test_an_interface_that_is_still_small_is_no_limit() -> None:
    path = settle(begin(V4, 1500), upto(1410), upto(1300), present=1300)
    assert path.mtu == 1410


def test_less_is_taken_at_once_and_more_when_found_twice() -> None:
    path = settle(begin(V4, 1500), upto(1394), upto(1500))
    path = settle(again(path, 1500, 700.0), upto(1374), upto(1500))
    assert path.mtu == 1374
    path = settle(again(path, 1500, 1400.0), upto(1400), upto(1500))
    assert path.mtu == 1374
    path = settle(again(path, 1500, 2100.0), upto(1420), upto(1500))
    assert path.mtu == 1400, "the smaller of the two"


def test_one_wide_answer_between_narrow_ones_changes_nothing() -> None:
    path = settle(begin(V4, 1500), upto(1394), upto(1500))
    for limit in (1420, 1394, 1420, 1394, 1420):
        path = settle(again(path, 1500, 700.0), upto(limit), upto(1500))
        assert path.mtu == 1394


def test_what_a_router_told_the_kernel_meanwhile_counts() -> None:
    path = begin(V4, 1500)
    while path.stage != "rest":
        path = turn(path, path.search.asked, MOST, 1460, 100.0)
    assert path.mtu == 1460 - OVERHEAD[4]


def test_it_is_time_again_after_ten_minutes_and_after_a_clock_of_another_start() -> None:
    path = settle(begin(V4, 1500), upto(1500), upto(1500))
    assert not due(path, 100.0 + EVERY - 1)
    assert due(path, 100.0 + EVERY)
    assert due(path, 50.0)
    assert not due(begin(V4, 1500), 1e9), "a search that runs is not begun again"


def test_the_end_of_a_stage_is_foreseen() -> None:
    path = begin(V4, 1500)
    assert ends(path, path.search.asked)
    assert not ends(path, ())


@given(st.integers(0, 65_535), st.integers(0, 65_535), st.binary(max_size=64))
def test_echoes_and_their_replies(identifier: int, sequence: int, body: bytes) -> None:
    sent = echo.request4(identifier, sequence, body)
    padded = sent + bytes(len(sent) % 2)
    total = sum(int.from_bytes(padded[at : at + 2]) for at in range(0, len(padded), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert total == 0xFFFF, "RFC 1071"
    reply = bytes([0]) + sent[1:]
    header = bytes([0x45]) + bytes(19)
    assert echo.replied4(header + reply, identifier) == (sequence, body)
    assert echo.replied4(header + reply, identifier ^ 1) is None
    assert echo.replied4(header + sent, identifier) is None, "our own request is no reply"
    six = bytes([129]) + echo.request6(identifier, sequence, body)[1:]
    assert echo.replied6(six, identifier) == (sequence, body)
    assert echo.replied6(six[:6], identifier) is None
    assert echo.replied4(b"", identifier) is None
