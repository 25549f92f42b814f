"""Counting a line's bytes by month, whatever happens to interfaces, netd and clocks."""

from __future__ import annotations

import calendar
import random
from dataclasses import replace

import pytest

from netd.core.lines import Line, line_of, parse_lines
from netd.core.volume import (
    BELIEVED_AFTER,
    GIB,
    MONTHS,
    Clock,
    Ledger,
    Reading,
    begin,
    believe,
    enter,
    level,
    month,
    next_month,
    told,
)

NOVEMBER = float(calendar.timegm((2026, 11, 15, 0, 0, 0)))
DAY = 86_400.0


def reading(carried: int, of: str = "boot 7", line: str | None = "eth1") -> Reading:
    return Reading(of, carried, 0, line)


def test_what_was_carried_is_counted_once() -> None:
    ledger = enter(Ledger(at=0.0), {"gl1": reading(5000)}, NOVEMBER)
    assert ledger.used == {}, "before the first look nobody counted"
    for carried in (6000, 6000, 9000):
        ledger = enter(ledger, {"gl1": reading(carried)}, NOVEMBER)
    assert ledger.of("eth1", "2026-11") == 4000


@pytest.mark.parametrize("again", [reading(300, of="boot 8"), reading(300, of="other 7"), reading(300)])
def test_an_interface_made_anew_counts_from_zero(again: Reading) -> None:
    ledger = enter(Ledger(at=0.0), {"gl1": reading(1000)}, NOVEMBER)
    assert enter(ledger, {"gl1": again}, NOVEMBER).of("eth1", "2026-11") == 300


def test_an_interface_made_anew_that_has_passed_its_forerunner_counts_in_full() -> None:
    ledger = enter(Ledger(at=0.0), {"gl1": reading(1000)}, NOVEMBER)
    assert enter(ledger, {"gl1": reading(1500, of="boot 8")}, NOVEMBER).of("eth1", "2026-11") == 1500


def test_a_link_that_is_new_later_counts_in_full() -> None:
    ledger = enter(Ledger(at=0.0), {}, NOVEMBER)
    assert enter(ledger, {"gl2": reading(700)}, NOVEMBER).of("eth1", "2026-11") == 700


def test_what_no_line_carried_is_never_put_to_one() -> None:
    ledger = enter(Ledger(at=0.0), {"gl1": reading(0, line=None)}, NOVEMBER)
    ledger = enter(ledger, {"gl1": reading(800, line=None)}, NOVEMBER)
    assert enter(ledger, {"gl1": reading(900)}, NOVEMBER).of("eth1", "2026-11") == 100


def test_a_month_begins_with_nothing_and_earlier_ones_are_kept_for_a_year() -> None:
    ledger, carried = enter(Ledger(at=0.0), {"gl1": reading(0)}, NOVEMBER), 0
    for number in range(20):
        carried += 100 + number
        ledger = enter(ledger, {"gl1": reading(carried)}, NOVEMBER + number * 31 * DAY)
    assert ledger.of("eth1", month(NOVEMBER + 19 * 31 * DAY)) == 119
    assert len(ledger.used["eth1"]) == MONTHS


def test_the_sum_is_what_interfaces_carried_however_netd_and_they_come_and_go() -> None:
    """netd forgets what it had not written down, and reads again: a look twice, a look late, a look after new interfaces."""
    chance = random.Random(4)
    for _ in range(50):
        carried = {f"gl{n}": 0 for n in range(4)}
        index = dict.fromkeys(carried, 0)
        ledger = saved = enter(Ledger(at=0.0), {}, NOVEMBER)
        total = 0
        for _step in range(60):
            name = chance.choice(list(carried))
            if chance.random() < 0.1:
                readings = {n: reading(c, of=f"boot {index[n]}") for n, c in carried.items()}
                ledger = saved = enter(ledger, readings, NOVEMBER)  # the last look sees what an interface carried
                carried[name], index[name] = 0, index[name] + 1
            more = chance.randint(0, 10_000)
            carried[name] += more
            total += more
            readings = {n: reading(c, of=f"boot {index[n]}") for n, c in carried.items()}
            ledger = enter(ledger, readings, NOVEMBER)
            if chance.random() < 0.3:
                saved = ledger
            if chance.random() < 0.1:
                ledger = saved  # killed
        ledger = enter(ledger, readings, NOVEMBER)
        assert ledger.of("eth1", "2026-11") == total


@pytest.mark.parametrize(
    ("wall", "expected"),
    [
        (NOVEMBER + 5, NOVEMBER + 5),
        (NOVEMBER + 90 * DAY, NOVEMBER + 90 * DAY),
        (0.0, NOVEMBER),
        (NOVEMBER - 3, NOVEMBER - 3),
    ],
)
def test_after_a_start_time_goes_on_and_never_far_back(wall: float, expected: float) -> None:
    """A server that was off for months is believed; one whose clock is at 1970 is not."""
    assert begin(wall, 17.0, NOVEMBER).now(17.0) == expected


def test_a_jump_is_believed_after_an_hour() -> None:
    clock = begin(NOVEMBER, 0.0, 0.0)
    for steady in (1.0, 1800.0, 3500.0):
        clock = believe(clock, NOVEMBER + steady + 40 * DAY, steady)
        assert clock.now(steady) == NOVEMBER + steady
    clock = believe(clock, NOVEMBER + 1.0 + BELIEVED_AFTER + 40 * DAY, 1.0 + BELIEVED_AFTER)
    assert month(clock.now(1.0 + BELIEVED_AFTER)) == "2026-12"


def test_a_jump_that_was_a_slip_changes_nothing() -> None:
    clock = believe(begin(NOVEMBER, 0.0, 0.0), NOVEMBER + 4000 * DAY, 10.0)
    clock = believe(clock, NOVEMBER + 20.0, 20.0)
    assert clock == Clock(NOVEMBER)
    clock = believe(clock, NOVEMBER + 4000 * DAY, 30.0)
    assert believe(clock, NOVEMBER + 4000 * DAY + 3590, 3620.0).offset == NOVEMBER, "the hour begins anew"


def test_a_clock_that_never_rests_is_never_believed() -> None:
    clock, chance = begin(NOVEMBER, 0.0, 0.0), random.Random(1)
    for steady in range(0, 100_000, 100):
        clock = believe(clock, chance.uniform(0, 4e9), float(steady))
    assert clock.offset == NOVEMBER


def test_slewing_is_followed() -> None:
    clock = begin(NOVEMBER, 0.0, 0.0)
    for steady in range(0, 100_000, 100):
        clock = believe(clock, NOVEMBER + 1.05 * steady, float(steady))
    assert clock.now(99_900.0) == pytest.approx(NOVEMBER + 1.05 * 99_900)


@pytest.mark.parametrize(
    ("used", "expected"), [(0, ""), (79, ""), (80, "warn"), (94, "warn"), (95, "spare"), (100, "stop"), (250, "stop")]
)
def test_levels(used: int, expected: str) -> None:
    assert level(used, 100) == expected
    assert level(used, 0) == ""


def test_a_higher_cap_ends_the_stop() -> None:
    assert level(100, 120) == "warn"


def test_an_operator_reads_how_much_and_until_when() -> None:
    assert told("eth1", 3 * GIB, 4 * GIB, NOVEMBER) == ""
    assert told("eth1", 4 * GIB, 4 * GIB, NOVEMBER) == (
        "line eth1: 4.0 of 4 GiB are used in 2026-11; other sites' traffic is stopped until 2026-12-01 or a higher volume_gib"
    )
    assert next_month(NOVEMBER + 40 * DAY) == "2027-01-01"


@pytest.mark.parametrize(("version", "expected"), [(4, 1480), (6, 1500)])
def test_bytes_are_those_of_the_line(version: int, expected: int) -> None:
    ledger = enter(Ledger(at=0.0), {"gl1": Reading("b", 0, 0, "eth1")}, NOVEMBER)
    assert enter(ledger, {"gl1": Reading("b", 1420, 1, "eth1", version)}, NOVEMBER).of("eth1", "2026-11") == expected


def test_lines_of_the_settings() -> None:
    given = [{"device": "eth1", "volume_gib": 500, "rate_mbit": 100}, {"device": "eth2"}]
    lines = parse_lines(given)
    assert lines == (Line("eth1", 500.0, 100.0), Line("eth2"))
    assert lines[0].cap == 500 * GIB
    assert line_of("eth2", lines) == lines[1]
    assert line_of("eth3", lines) is line_of(None, lines) is None
    only = parse_lines([{"volume_gib": 0.5}])
    assert line_of("eth9", only) == line_of(None, only) == replace(Line(), volume_gib=0.5)
    assert only[0].name == "uplink"


@pytest.mark.parametrize(
    "given",
    [
        {"device": "eth1"},
        [{"device": "eth1", "cap": 1}],
        [{"device": "eth 1"}],
        [{"volume_gib": -1}],
        [{"volume_gib": "5"}],
        [{"rate_mbit": float("nan")}],
        [{"rate_mbit": True}],
        [{"device": "eth1"}, {"device": "eth1"}],
        [{"device": "eth1"}, {}],
        ["eth1"],
    ],
)
def test_settings_that_make_no_sense_are_refused(given: object) -> None:
    with pytest.raises(TypeError):
        parse_lines(given)
