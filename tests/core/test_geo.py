"""Sites on the map by their coordinates."""

from __future__ import annotations

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from web.geo import NARROW, boxes, overlap, placed
from web.sitemap import APART, ASPECT, MARGIN_X, MARGIN_Y, Place, Tie, spots, strokes

TOWNS = {"sapporo": (43.06, 141.35), "tsukuba": (36.08, 140.11), "nagoya": (35.18, 136.91), "naha": (26.21, 127.68)}


def towns(**more: tuple[float, float] | None) -> list[Place]:
    return [Place(name, "up", at=at) for name, at in (TOWNS | more).items()]


def test_north_is_up_and_east_is_right() -> None:
    found = {spot.place.name: (spot.x, spot.y) for spot in spots(towns())}
    assert found["sapporo"][1] < found["tsukuba"][1] < found["nagoya"][1] < found["naha"][1]
    assert found["naha"][0] < found["nagoya"][0] < found["tsukuba"][0] < found["sapporo"][0]


def test_a_site_without_coordinates_puts_all_on_the_ring() -> None:
    assert [s.place.name for s in spots(towns(kobe=None))] == sorted([*TOWNS, "kobe"])
    ring = spots([Place(name, "up") for name in (*TOWNS, "kobe")])
    assert [(s.x, s.y) for s in spots(towns(kobe=None))] == [(s.x, s.y) for s in ring]


def test_who_is_only_invited_waits_at_the_edge() -> None:
    found = {spot.place.name: spot for spot in spots([*towns(), Place("kobe", "invited")])}
    assert found["kobe"].x > max(spot.x for name, spot in found.items() if name != "kobe")
    assert found["naha"].x < 50


def test_both_sides_of_the_pacific_stand_together() -> None:
    auckland, honolulu, london = placed([(-36.8, 174.8), (21.3, -157.9), (51.5, -0.1)], (10, 10), 2, 5)
    assert auckland[0] < honolulu[0] < london[0]


@given(st.lists(st.tuples(st.floats(-90, 90), st.floats(-180, 180)), min_size=2, max_size=20))
def test_sites_stand_apart_inside_the_picture(at: list[tuple[float, float]]) -> None:
    found = placed(at, (MARGIN_X, MARGIN_Y), ASPECT, APART)
    assert found == placed(at, (MARGIN_X, MARGIN_Y), ASPECT, APART)
    assert all(MARGIN_X <= x <= 100 - MARGIN_X and MARGIN_Y <= y <= 100 - MARGIN_Y for x, y in found)
    near = min(math.hypot(a[0] - b[0], (a[1] - b[1]) / ASPECT) for a, b in itertools.combinations(found, 2))
    assert near > APART * 0.5


def test_names_hide_neither_each_other_nor_sites() -> None:
    crowd = {
        "tokyo": (35.68, 139.69),
        "yokohama": (35.44, 139.64),
        "chiba": (35.61, 140.12),
        "kawasaki": (35.53, 139.70),
    }
    found = spots(towns(**crowd))
    covered = [box for spot in found if (box := spot.written)]
    signs = [(spot.x - 1, spot.y - 2, spot.x + 1, spot.y + 2) for spot in found]
    assert len(covered) == len(found)
    for number, box in enumerate(covered):
        others = [*covered[:number], *covered[number + 1 :], *signs[:number], *signs[number + 1 :]]
        assert not any(overlap(box, other) for other in others), found[number]


def test_on_a_phone_what_matters_is_named_and_nothing_overlaps() -> None:
    crowd = {f"a{number}-of-kanto": (35.4 + number * 0.05, 139.6) for number in range(8)}
    places = [*towns(**crowd), Place("z-liar", "up", accused=True, at=(35.6, 139.7))]
    found = spots(places)
    named = [spot for spot in found if spot.narrow]
    assert "z-liar" in {spot.place.name for spot in named}
    assert 4 < len(named) < len(found)
    covered = [boxes((spot.x, spot.y), spot.label, NARROW)[spot.narrow or ""] for spot in named]
    assert not any(overlap(one, other) for one, other in itertools.combinations(covered, 2))


def test_trouble_is_marked_where_it_hides_no_name() -> None:
    osaka, hiroshima, fukuoka = (34.69, 135.50), (34.39, 132.46), (33.59, 130.40)
    found = spots(towns(osaka=osaka, hiroshima=hiroshima, fukuoka=fukuoka))
    (stroke,) = strokes([Tie("fukuoka", "osaka", "up", 12.0, 0.03)], found)
    x, y = stroke.mark
    assert not any(overlap((x - 1, y - 1, x + 1, y + 1), box) for spot in found if (box := spot.written))


def test_towns_side_by_side_keep_their_order() -> None:
    """With Tsukuba, Tokyo and Yokohama within 80 km; by the map, Yokohama is south-west of Tokyo and that of Tsukuba."""
    others = {"osaka": (34.69, 135.50), "kyoto": (35.01, 135.77), "sendai": (38.27, 140.87), "niigata": (37.90, 139.02)}
    found = {s.place.name: s for s in spots(towns(tokyo=(35.68, 139.77), yokohama=(35.44, 139.64), **others))}
    assert found["tsukuba"].y < found["tokyo"].y < found["yokohama"].y
    assert found["yokohama"].x < found["tokyo"].x < found["tsukuba"].x
    assert found["osaka"].x < found["kyoto"].x < found["nagoya"].x
    assert found["kyoto"].y < found["osaka"].y
