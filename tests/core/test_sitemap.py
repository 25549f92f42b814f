"""The map's figures."""

from __future__ import annotations

import itertools

from web.sitemap import HEIGHT, WIDTH, Tie, shade, sparkline, spots, strokes


def test_sites_stand_apart_inside_the_picture_and_always_the_same() -> None:
    for count in (1, 2, 5, 12, 40):
        names = [f"site{number}" for number in range(count)]
        found = spots(names, {"site1"}, {})
        assert found == spots(names[::-1], {"site1"}, {})
        assert sorted(spot.name for spot in found) == sorted(names)
        assert all(0 < spot.x < WIDTH and 0 < spot.y < HEIGHT for spot in found)
        near = min((abs(a.x - b.x) + abs(a.y - b.y) for a, b in itertools.combinations(found, 2)), default=WIDTH)
        assert near > 20, count


def test_trouble_is_drawn_on_top_and_loss_has_a_look() -> None:
    places = spots(["a", "b", "c"], (), {})
    ties = [
        Tie("a", "b", "down"),
        Tie("a", "c", "up", 5.0, 0.02, 1e9),
        Tie("b", "c", "up", 5.0, 0.0),
        Tie("b", "gone", "up"),
        Tie("a", "b", "up", 1.0, 0.2),
    ]
    assert [(s.state, s.width) for s in strokes(ties, places)] == [
        ("up", 1.5),
        ("lossy", 6.0),
        ("bad", 1.5),
        ("down", 1.5),
    ]


def test_a_gap_stays_a_gap() -> None:
    assert sparkline([1.0, None, 2.0, 2.0], width=30, height=12) == "M0.0 6.0 M20.0 1.0 L30.0 1.0"
    assert sparkline([None, None]) == ""
    assert [shade(value) for value in (None, 3.0, 12.0, 90.0, 200.0)] == ["none", "near", "mid", "far", "remote"]
