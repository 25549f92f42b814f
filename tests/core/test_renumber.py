"""Renumbering keeps every address at its place."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garage.core.renumber import Move, digest, moved
from garage.errors import GarageError

MOVE = Move("a", "one", "lab", "ready", "10.7.0.5", "fd07::5", "10.9.0.5", "fd09::5")


@given(st.integers(0, 4095), st.integers(0, 4095), st.integers(0, 4095))
def test_an_address_keeps_its_place_and_comes_back(place: int, before: int, after: int) -> None:
    old = ipaddress.ip_network((10 << 24 | before << 12, 20))
    new = ipaddress.ip_network((10 << 24 | after << 12, 20))
    there = moved(str(old[place]), str(old), str(new))
    assert there == str(new[place])
    assert moved(there, str(new), str(old)) == str(old[place])


@pytest.mark.parametrize("address", ["10.7.16.0", "10.6.255.255", "10.7.8.0"])
def test_an_address_without_a_place_is_refused(address: str) -> None:
    with pytest.raises(GarageError) as error:
        moved(address, "10.7.0.0/20", "10.9.0.0/21")
    assert error.value.code == "no_address"


def test_another_plan_has_another_digest() -> None:
    before, after = ("10.7.0.0/20", "fd07::/48"), ("10.9.0.0/20", "fd09::/48")
    plans = [(before, after, [MOVE]), (before, after, []), (after, before, [MOVE]), (before, before, [MOVE])]
    assert len({digest(*plan) for plan in plans}) == len(plans)
    assert digest(before, after, [MOVE]) == digest(before, after, [MOVE])
