"""How many machines wait: demand, budget, what is ended and what is made."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garage.core.pool import (
    DAY,
    HOUR,
    LARGEST,
    WEEK,
    Kind,
    Share,
    Spare,
    Want,
    missing,
    quantile,
    rate,
    surplus,
    targets,
)

NOW = 1_800_000_000.0
SMALL, BIG = Kind("a", "small"), Kind("a", "big")
ALONE = Share(0, 1)


def want(
    kind: Kind = SMALL,
    memory: int = 1000,
    *,
    asked: tuple[float, ...] = (),
    fixed: int | None = None,
    least: int = 0,
    now: float = NOW,
) -> Want:
    return Want(kind, memory, 10, rate(asked, now), fixed, least)


def test_without_demand_only_the_least_waits() -> None:
    found = targets([want(least=1), want(BIG)], ALONE, memory_mib=99_999, disk_gib=999)
    assert found == {SMALL: 1, BIG: 0}


def test_a_busy_hour_fills_the_pool_and_the_night_does_not() -> None:
    """Thirty requests each Tuesday from ten to eleven, for four weeks."""
    asked = tuple(NOW - week * WEEK - minute * 120 for week in range(4) for minute in range(30))
    busy = targets([want(asked=asked)], ALONE, memory_mib=99_999, disk_gib=999)[SMALL]
    night = targets([want(asked=asked, now=NOW + 12 * HOUR)], ALONE, memory_mib=99_999, disk_gib=999)[SMALL]
    assert busy >= 4
    assert night <= 1


def test_old_demand_and_demand_to_come_count_nothing() -> None:
    assert rate([NOW - 5 * WEEK, NOW + DAY], NOW) == 0
    assert rate([NOW - 10], NOW) > 0


@pytest.mark.parametrize("mean", [0.0, 0.1, 1.0, 3.0, 7.5])
def test_the_quantile_is_poissons(mean: float) -> None:
    def below(k: int) -> float:
        return sum(math.exp(-mean) * mean**i / math.factorial(i) for i in range(k + 1))

    k = quantile(mean, 0.9)
    assert below(k) >= 0.9
    assert k == 0 or below(k - 1) < 0.9


wants = st.lists(
    st.builds(
        Want,
        st.builds(Kind, st.sampled_from("abc"), st.sampled_from(["small", "big"])),
        st.integers(100, 9000),
        st.integers(1, 50),
        st.floats(0, 0.1),
        st.none() | st.integers(0, 30),
        st.integers(0, 2),
    ),
    max_size=6,
    unique_by=lambda one: one.kind,
)


@given(wants, st.integers(0, 60_000), st.integers(0, 500))
def test_the_budget_holds_and_no_pool_is_larger_than_it_may(given_: list[Want], memory: int, disk: int) -> None:
    found = targets(given_, ALONE, memory_mib=memory, disk_gib=disk)
    assert sum(one.memory_mib * found[one.kind] for one in given_) <= memory
    assert sum(one.disk_gib * found[one.kind] for one in given_) <= disk
    for one in given_:
        assert found[one.kind] <= LARGEST
        assert one.fixed is None or found[one.kind] <= one.fixed


def test_what_an_admin_fixes_comes_first_and_then_one_of_each() -> None:
    asked = tuple(NOW - 60 * n for n in range(60))
    tight = {"memory_mib": 4000, "disk_gib": 999}
    assert targets([want(asked=asked), want(BIG, fixed=3)], ALONE, **tight) == {SMALL: 1, BIG: 3}
    assert targets([want(asked=asked), want(BIG, least=1)], ALONE, **tight) == {SMALL: 3, BIG: 1}


shares = st.integers(1, 60).flatmap(lambda of: st.tuples(st.just(of), st.integers(0, 3 * of)))


@given(shares)
def test_parts_of_nodes_add_up_and_differ_by_one_at_most(given_: tuple[int, int]) -> None:
    of, goal = given_
    parts = [Share(number, of).part(goal, SMALL) for number in range(of)]
    assert sum(parts) == goal
    assert max(parts) - min(parts) <= 1


def test_who_has_the_odd_one_differs_by_kind() -> None:
    kinds = [Kind(f"{number:08x}", size) for number in range(8) for size in ("tiny", "small", "large")]
    holders = {next(n for n in range(4) if Share(n, 4).part(1, kind)) for kind in kinds}
    assert holders == {0, 1, 2, 3}


def test_many_nodes_serve_much_demand_together() -> None:
    asked = tuple(NOW - n for n in range(3600))
    alone = targets([want(asked=asked)], ALONE, memory_mib=10**6, disk_gib=10**6)
    parts = [targets([want(asked=asked)], Share(n, 50), memory_mib=10**6, disk_gib=10**6) for n in range(50)]
    assert alone == {SMALL: LARGEST}
    assert LARGEST < sum(part[SMALL] for part in parts) < 1000


def spare(number: int, kind: Kind = SMALL, *, age: float = 0.0, warm: bool = True) -> Spare:
    return Spare(f"{number}", kind, NOW - age, warm)


def test_surplus_is_the_old_the_unwanted_and_those_that_still_boot_first() -> None:
    here = [spare(1, age=25 * HOUR), spare(2), spare(3, warm=False), spare(4, BIG)]
    assert set(surplus(here, {SMALL: 1}, NOW, max_age=24 * HOUR)) == {"1", "3", "4"}
    assert surplus(here[1:2], {SMALL: 1}, NOW, max_age=24 * HOUR) == []


def test_missing_is_what_is_wanted_and_not_there_once_the_old_are_gone() -> None:
    here = [spare(1, age=25 * HOUR), spare(2)]
    assert missing(here, {SMALL: 2, BIG: 2}, ["1"]) == [BIG, BIG, SMALL]
    assert missing(here, {SMALL: 1}, []) == []


spares = st.lists(
    st.builds(spare, st.integers(0, 99), age=st.floats(0, 50 * HOUR)), unique_by=lambda one: one.id, max_size=9
)


@given(spares, st.integers(0, 9))
def test_after_both_there_are_as_many_as_wanted(here: list[Spare], count: int) -> None:
    ending = surplus(here, {SMALL: count}, NOW, max_age=24 * HOUR)
    left = len(here) - len(ending)
    assert left + len(missing(here, {SMALL: count}, ending)) == max(count, left) == count
