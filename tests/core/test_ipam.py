"""Addresses: nothing twice, nothing outside the site, a freed one rests."""

from __future__ import annotations

import ipaddress
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garage.core import ipam, names
from garage.errors import GarageError

SITE4, SITE6 = "10.31.0.0/20", "fd31:4:5::/48"


@given(st.integers(0, 2**32), st.lists(st.integers(0, 4095), max_size=40))
def test_a_drawn_prefix_is_clear_of_what_is_taken(seed: int, taken: list[int]) -> None:
    networks = [f"10.{n >> 4}.{(n & 15) << 4}.0/20" for n in taken]
    drawn = ipaddress.ip_network(ipam.draw_ipv4(random.Random(seed), networks))
    assert drawn.prefixlen == 20
    assert drawn.subnet_of(ipam.IPV4_POOL)
    assert not any(drawn.overlaps(ipaddress.ip_network(net)) for net in networks)


def test_when_all_is_taken_the_error_says_what_to_do() -> None:
    with pytest.raises(GarageError) as caught:
        ipam.draw_ipv4(random.Random(1), ["10.0.0.0/8"])
    assert caught.value.code == "no_address"
    assert "garage.toml" in caught.value.hint


@given(st.integers(0, 2**64))
def test_a_drawn_ula_is_a_slash_48_of_rfc_4193(seed: int) -> None:
    drawn = ipaddress.ip_network(ipam.draw_ipv6(random.Random(seed)))
    assert drawn.prefixlen == 48
    assert drawn.subnet_of(ipaddress.ip_network("fd00::/8"))


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_of_a_run_of_takes_and_frees_no_address_is_held_twice(steps: list[bool]) -> None:
    held: list[str] = []
    last = None
    for take in steps:
        if take or not held:
            ipv4, ipv6 = ipam.allot(SITE4, SITE6, held, after=last)
            assert ipv4 not in held
            assert ipv4 != last
            assert ipaddress.ip_address(ipv4) in ipaddress.ip_network(SITE4)
            assert ipaddress.ip_address(ipv6) in ipaddress.ip_network(SITE6)
            held.append(ipv4)
            last = ipv4
        else:
            held.pop(0)


def test_a_full_site_is_refused() -> None:
    net = ipaddress.ip_network("10.31.0.0/27")
    with pytest.raises(GarageError) as caught:
        ipam.allot(str(net), SITE6, {str(a) for a in net})
    assert caught.value.code == "no_address"


@given(st.text("abcdefghijkmnpqrstuvwxyz23456789", min_size=2, max_size=4), st.integers(1, 2**31))
def test_interface_names_fit_and_macs_are_local_unicast(instance: str, number: int) -> None:
    if number < 36**7:
        assert len(names.tap(instance, number)) <= 15
    first = int(names.mac(instance, number)[:2], 16)
    assert first & 0b11 == 0b10


@given(st.integers(0, 36**6), st.integers(0, 36**6))
def test_taps_differ_when_numbers_do(one: int, other: int) -> None:
    assert (names.tap("abc", one) == names.tap("abc", other)) == (one == other)
