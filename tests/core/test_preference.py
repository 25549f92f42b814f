"""Classes of links: good lines are preferred, one sample changes nothing, a line near a threshold stays where it is."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netd.core.preference import (
    DIRECT,
    DRAINING,
    DWELL,
    LEAST,
    LOCAL_PREF,
    LOSS,
    RTT_MS,
    RTT_WINDOW,
    SURE,
    SURE_AFTER,
    SURE_MS,
    WINDOW,
    Grade,
    Window,
    add,
    classify,
    local_preference,
    quality,
    sure,
)


def classes(samples: Iterable[float | None], grade: Grade | None = None, window: Window | None = None) -> list[int]:
    """The class after each sample from the first that has one."""
    window, found = window or Window(), []
    for sample in samples:
        window = add(window, sample)
        grade = classify(grade, window)
        if grade is not None:
            found.append(grade.grade)
    return found


def lossy(rtt: float, every: int, count: int) -> list[float | None]:
    return [None if i % every == 0 else rtt for i in range(1, count + 1)]


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([5.0] * 60, 3),
        ([40.0] * 60, 2),
        ([100.0] * 60, 1),
        ([300.0] * 60, 0),
        (lossy(5.0, 100, 300), 3),
        (lossy(5.0, 50, 300), 2),
        (lossy(5.0, 20, 300), 1),
        (lossy(5.0, 5, 300), 0),
        ([None] * 60, 0),
    ],
)
def test_the_worse_of_rtt_and_loss_makes_the_class(samples: list[float | None], expected: int) -> None:
    window = Window()
    for sample in samples:
        window = add(window, sample)
    grade = classify(None, window)
    assert grade is not None
    assert grade.grade == expected


def test_nothing_is_said_before_enough_is_known() -> None:
    assert classes([1.0] * (LEAST - 1)) == []
    assert classes([1.0] * LEAST) == [3]


@settings(max_examples=50)
@given(st.sampled_from(RTT_MS), st.integers(0, 2**32))
def test_a_line_near_a_threshold_does_not_flap(threshold: float, seed: int) -> None:
    """The RTT wanders up to 15 % around it; at most the first guess is corrected."""
    rng = random.Random(seed)
    found = classes(threshold * rng.uniform(0.85, 1.15) for _ in range(600))
    assert len(set(found)) == 1


@settings(max_examples=50)
@given(st.sampled_from(RTT_MS), st.floats(0.5, 0.99), st.floats(1.01, 2.0), st.integers(1, 90))
def test_a_line_that_swings_across_a_threshold_changes_class_once_per_swing_at_most(
    threshold: float, low: float, high: float, period: int
) -> None:
    samples = [threshold * (low if i // period % 2 else high) for i in range(900)]
    found = classes(samples)
    changes = sum(a != b for a, b in pairwise(found))
    assert changes <= 900 // period
    if period < RTT_WINDOW // 2:
        assert changes <= 2


@settings(max_examples=30)
@given(st.sampled_from(LOSS), st.integers(0, 2**32))
def test_loss_as_large_as_a_threshold_moves_the_class_rarely(loss: float, seed: int) -> None:
    """Losses are drawn, for an hour at one probe per second: hardly ever more often than once in a window."""
    rng = random.Random(seed)
    found = classes(None if rng.random() < loss else 5.0 for _ in range(3600))
    assert sum(a != b for a, b in pairwise(found)) <= 3600 // WINDOW


def test_one_lost_probe_in_a_minute_is_not_held_against_a_good_line() -> None:
    assert set(classes([5.0] * 60 + [None] + [5.0] * 60)) == {3}


def test_a_line_that_fails_is_left_soon_and_taken_up_again_with_care() -> None:
    window, grade = Window(), None
    for _ in range(WINDOW):
        window = add(window, 5.0)
        grade = classify(grade, window)
    assert grade == Grade(3)
    falling = classes([None] * 40, grade, window)
    assert falling[6] < 3
    assert falling[-1] == 0
    assert falling == sorted(falling, reverse=True)
    for _ in range(40):
        window = add(window, None)
        grade = classify(grade, window)
    rising = classes([5.0] * (WINDOW + DWELL), grade, window)
    assert rising[WINDOW // 2] == 0
    assert rising[-1] == 3
    assert rising == sorted(rising)


def test_a_single_late_answer_changes_nothing_but_jitter() -> None:
    window = Window()
    for sample in [10.0] * 30:
        window = add(window, sample)
    after = add(window, 2000.0)
    assert quality(after) is not None
    assert quality(after).rtt_ms == 10.0  # type: ignore[union-attr]
    assert after.jitter == pytest.approx(1990 / 16)
    assert classify(Grade(3), after) == Grade(3)


def test_jitter_is_that_of_rfc_3550() -> None:
    """Differences of 16 ms: 1, then 1 + 15/16, a lost one between changes nothing."""
    window = Window()
    for sample in (10.0, 26.0, None, 10.0):
        window = add(window, sample)
    assert window.jitter == pytest.approx(1 + 15 / 16)


@given(st.lists(st.one_of(st.none(), st.floats(0, 1e6)), max_size=400))
def test_what_is_measured_stays_within_what_was_heard(samples: list[float | None]) -> None:
    window = Window()
    for sample in samples:
        window = add(window, sample)
    assert window.samples == tuple(samples[-WINDOW:])
    known = quality(window)
    assert (known is None) == (len(window.samples) < LEAST)
    if known is not None:
        heard = [sample for sample in window.samples[-RTT_WINDOW:] if sample is not None]
        assert known.rtt_ms in (heard or [math.inf])
        assert known.loss == pytest.approx(window.samples.count(None) / len(window.samples))
        assert known.jitter_ms >= 0


@given(st.lists(st.one_of(st.none(), st.floats(0, 1e4)), max_size=120), st.sampled_from([0, 1, 2, 3]))
def test_a_grade_is_always_one_of_four_and_better_only_after_a_while(samples: list[float | None], start: int) -> None:
    found = [start, *classes(samples, Grade(start))]  # type: ignore[arg-type]
    assert set(found) <= {0, 1, 2, 3}
    rises = [i for i in range(1, len(found)) if found[i] > found[i - 1]]
    assert all(i >= DWELL for i in rises[:1])
    assert all(later - earlier >= DWELL for earlier, later in pairwise(rises))


def surety(samples: Iterable[float | None]) -> list[bool]:
    """After each sample."""
    window, now, found = Window(), False, []
    for sample in samples:
        window = add(window, sample)
        now = sure(now, window)
        found.append(now)
    return found


def test_a_link_is_sure_after_half_a_minute_and_no_more_at_the_third_bad_sample() -> None:
    good = [10.0] * SURE_AFTER
    assert surety(good) == [False] * (SURE_AFTER - 1) + [True]
    assert surety([*good, None, 10.0, 200.0, 200.0]) == [False] * (SURE_AFTER - 1) + [True] * 4 + [False]
    assert surety([*good, None, 200.0, None])[-1] is False
    assert not any(surety([*good, None, 200.0, None, *good[1:-2]])[SURE_AFTER + 2 :])
    assert not any(surety([SURE_MS + 1] * 100))


@given(st.lists(st.tuples(st.integers(1, 40), st.one_of(st.none(), st.floats(0, 300))), max_size=12))
def test_a_sure_link_is_of_a_class_that_no_detour_is_better_than(runs: list[tuple[int, float | None]]) -> None:
    """As a peer would see it that has just come up and heard what we heard."""
    window, now = Window(), False
    for sample in [sample for count, sample in runs for _ in range(count)]:
        window = add(window, sample)
        now = sure(now, window)
        fresh = classify(None, window)
        assert not now or (fresh is not None and LOCAL_PREF[fresh.grade] + DIRECT > LOCAL_PREF[3])


@given(st.integers(0, WINDOW), st.lists(st.integers(0, WINDOW - 1), max_size=3), st.integers(SURE_AFTER, WINDOW))
def test_a_link_that_one_end_is_sure_of_is_not_left_by_the_other_that_loses_three_more(
    at: int, more: list[int], young: int
) -> None:
    """Each end measures with probes of its own, and may have begun later. The worst that a sure end has heard: as much lost as it bears."""
    for lost in range(4):
        mine = [None if at <= i < at + lost else 10.0 for i in range(WINDOW)]
        if not surety(mine)[-1]:
            continue
        theirs = [None if i in more else sample for i, sample in enumerate(mine)][-young:]
        assert min(classes(theirs)) >= SURE, (lost, more, young)


def test_local_preference_rises_with_the_class_and_a_draining_link_is_last() -> None:
    values = [local_preference(grade) for grade in (0, 1, 2, 3)]
    assert values == sorted(set(values)) == list(LOCAL_PREF.values()) == [100, 200, 300, 400]
    assert local_preference(3, draining=True) == DRAINING < min(values)
    assert local_preference(None) in values
