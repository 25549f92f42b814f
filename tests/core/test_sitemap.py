"""The map's figures: where sites stand, how links are drawn; sparklines; charts."""

from __future__ import annotations

import itertools
from datetime import timedelta, timezone

import pytest

from garage.core.samples import Sample
from web import chart
from web.sitemap import NAMED, Place, Tie, shade, sparkline, spots, strokes


@pytest.mark.parametrize("count", [1, 2, 5, 12, 40, 300])
def test_sites_stand_apart_inside_the_picture_and_always_the_same(count: int) -> None:
    places = [Place(f"site{number:03}", "up", hub=number in (1, 2)) for number in range(count)]
    found = spots(places)
    assert found == spots(places[::-1])
    assert sorted(spot.place.name for spot in found) == [place.name for place in places]
    assert all(10 < spot.x < 90 and 10 < spot.y < 90 for spot in found)
    near = min((11 * abs(a.x - b.x) + 5 * abs(a.y - b.y) for a, b in itertools.combinations(found, 2)), default=100)
    assert near > (12 if count == 300 else 25), "pixels of a picture of 1100 by 500"


def test_two_sites_stand_side_by_side() -> None:
    one, other = spots([Place("a", "up"), Place("b", "up")])
    assert one.y == other.y == 50
    assert (one.side, other.side) == ("end", "start")


def test_of_many_sites_those_that_matter_are_named() -> None:
    places = [Place(f"s{number:02}", "up") for number in range(NAMED)]
    assert all(spot.label for spot in spots(places))
    more = [*places, Place("x-hub", "up", hub=True), Place("y-silent", "silent"), Place("z-liar", "up", accused=True)]
    assert [spot.label for spot in spots(more) if spot.label] == ["y-silent", "z-liar", "x-hub"]
    assert spots([Place("a-very-long-name-indeed", "up")])[0].label == "a-very-long-na…"


def test_names_around_a_full_ring_are_never_upside_down() -> None:
    turned = [spot.turn for spot in spots([Place(f"s{number:02}", "up") for number in range(30)])]
    assert all(turn is not None and (turn <= 90 or turn >= 270) for turn in turned)


def test_trouble_is_drawn_on_top_and_loss_has_a_look() -> None:
    places = spots([Place(name, "up") for name in "abc"])
    ties = [
        Tie("a", "b", "down"),
        Tie("a", "c", "up", 5.0, 0.02, 1e9),
        Tie("b", "c", "up", 5.0, 0.0),
        Tie("b", "gone", "up"),
        Tie("a", "b", "up", 1.0, 0.2),
    ]
    assert [(s.state, s.width) for s in strokes(ties, places)] == [
        ("up", 1.5),
        ("lossy", 7.0),
        ("bad", 1.5),
        ("down", 1.5),
    ]


def test_a_gap_stays_a_gap() -> None:
    assert sparkline([1.0, None, 2.0, 2.0], width=30, height=12) == "M0.0 6.0h0.1 M20.0 1.0 L30.0 1.0"
    assert sparkline([None, None]) == ""
    assert sparkline([5.0, 20.0], 10, 12, top=10.0) == "M0.0 6.0 L10.0 1.0"
    assert [shade(value) for value in (None, 3.0, 12.0, 90.0, 200.0)] == ["none", "near", "mid", "far", "remote"]


@pytest.mark.parametrize(
    ("most", "top", "marks"),
    [(0.0, 0.001, 3), (3.0, 3.0, 4), (12.5, 15.0, 4), (97.0, 100.0, 3), (0.7, 0.8, 5), (6553.4, 8000.0, 5)],
)
def test_an_axis_has_round_numbers_and_reaches_above(most: float, top: float, marks: int) -> None:
    found, levels = chart.axis(most)
    assert (found, len(levels)) == (top, marks)
    assert levels[0] == 0
    assert levels[-1] == found >= most


def test_a_chart_marks_whole_hours_of_the_readers_clock() -> None:
    tokyo = timezone(timedelta(hours=9), "JST")
    start = 1_800_000_000.0 - 1_800_000_000 % 3600 + 20 * 60
    day = chart.draw([Sample(12.0, 0.1, 0.0)] * 1440, start, tokyo)
    assert [tick.text[2:] for tick in day.times] == [":00"] * 8
    assert len({int(tick.text[:2]) % 3 for tick in day.times}) == 1
    hour = chart.draw([Sample(12.0, 0.1, 0.1)] * 60, start, tokyo)
    assert [tick.text[3:] for tick in hour.times] == ["20", "30", "40", "50", "00", "10"]
    assert (hour.zone, hour.loss_top, hour.values[0]) == ("JST", 0.1, [12.0, 10.0])
    assert all(0 <= tick.at <= 100 for tick in (*day.times, *hour.times, *day.levels))
    nothing = chart.draw([Sample()] * 60, start, tokyo)
    assert (nothing.rtt, nothing.loss) == ("", "")
