"""A registry's allotments: nothing twice, what can be kept is kept, what is refused is told."""

from __future__ import annotations

import ipaddress
import random
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garage.core import allot
from garage.errors import GarageError
from netd.core.overlay import RANGES

LINKS6 = "fd11:2222:3333:1::/64"
BLOCKS4 = st.builds(
    lambda n, bits: str(ipaddress.IPv4Network((n << 12, bits), strict=False)),
    st.integers(0, 0xFFFFF),
    st.integers(4, 28),
)
IN_SITES4 = st.builds(
    lambda n, bits: str(ipaddress.IPv4Network(((10 << 24) + (n << 8), bits), strict=False)),
    st.integers(0, 0xFFFF),
    st.integers(12, 24),
)
IN_SITES6 = st.builds(lambda n: str(ipaddress.IPv6Network(((0xFD << 120) + (n << 80), 48))), st.integers(0, 20))


@given(st.lists(BLOCKS4, max_size=30), BLOCKS4)
def test_overlaps_are_found_as_by_comparing_each(networks: list[str], asked: str) -> None:
    net = ipaddress.ip_network(asked)
    found = allot.Ranges([*networks, "fd00::/8"]).overlapping(net)
    assert (found is not None) == any(net.overlaps(ipaddress.ip_network(other)) for other in networks)
    assert found is None or (found.overlaps(net) and str(found) in networks)


@given(st.lists(st.tuples(IN_SITES4, IN_SITES6), max_size=25), st.integers(0, 2**32))
def test_no_two_sites_share_an_address_and_who_can_keep_his_does(proposals: list[tuple[str, str]], seed: int) -> None:
    rng = random.Random(seed)
    taken = ["10.64.0.0/10", allot.LINKS4]
    for ipv4, ipv6 in proposals:
        given_ = allot.prefixes(ipv4, ipv6, taken, rng)
        for proposed, got, conflict in ((ipv4, given_.ipv4, given_.conflict4), (ipv6, given_.ipv6, given_.conflict6)):
            assert (proposed == got) == (not conflict)
            assert not conflict or (
                conflict in taken and ipaddress.ip_network(conflict).overlaps(ipaddress.ip_network(proposed))
            )
        assert given_.kept == ((given_.ipv4, given_.ipv6) == (ipv4, ipv6))
        taken += [given_.ipv4, given_.ipv6]
    for one, other in combinations(map(ipaddress.ip_network, taken), 2):
        assert one.version != other.version or not one.overlaps(other)


def test_thousands_of_sites_are_allotted_and_the_last_slash_20_is_found() -> None:
    taken = [f"10.{n >> 4}.{(n & 15) << 4}.0/20" for n in range(4096) if n not in (0, 2777)]
    got = allot.prefixes("10.31.0.0/20", "fd31:4:5::/48", taken, random.Random(1))
    assert got.ipv4 == f"10.{2777 >> 4}.{(2777 & 15) << 4}.0/20"
    assert got.conflict4 == "10.31.0.0/20"
    with pytest.raises(GarageError) as caught:
        allot.prefixes("10.31.0.0/20", "fd31:4:5::/48", [*taken, got.ipv4], random.Random(1))
    assert caught.value.code == "no_address"


@pytest.mark.parametrize(
    ("ipv4", "ipv6", "pointer"),
    [
        ("10.31.1.0/20", "fd31:4:5::/48", "/ipv4"),
        ("10.0.0.0/8", "fd31:4:5::/48", "/ipv4"),
        ("192.168.0.0/20", "fd31:4:5::/48", "/ipv4"),
        ("0.0.0.0/0", "fd31:4:5::/48", "/ipv4"),
        ("fd31:4:6::/48", "fd31:4:5::/48", "/ipv4"),
        ("nonsense", "fd31:4:5::/48", "/ipv4"),
        ("10.31.0.0/20", "::/0", "/ipv6"),
        ("10.31.0.0/20", "2001:db8::/48", "/ipv6"),
        ("10.31.0.0/20", "fd00::/8", "/ipv6"),
    ],
)
def test_what_no_site_may_have_is_refused(ipv4: str, ipv6: str, pointer: str) -> None:
    with pytest.raises(GarageError) as caught:
        allot.prefixes(ipv4, ipv6, [], random.Random(1))
    assert (caught.value.code, caught.value.pointer) == ("invalid_field", pointer)
    assert "{" not in caught.value.message


def test_the_bounds_are_those_that_netd_enforces() -> None:
    assert ((str(allot.SITE4), *allot.BITS4), (str(allot.SITE6), *allot.BITS6)) == RANGES


@given(st.integers(0, 2**32))
def test_as_numbers_are_private_and_nobodys(seed: int) -> None:
    rng = random.Random(seed)
    taken: set[int] = set()
    for _ in range(50):
        found = allot.asn(taken, rng)
        assert 4_200_000_000 <= found <= 4_294_967_294
        assert found not in taken
        taken.add(found)


def test_the_as_number_after_a_taken_one_is_given() -> None:
    first = allot.asn(set(), random.Random(7))
    assert allot.asn({first, first + 1}, random.Random(7)) == first + 2


@pytest.mark.parametrize("name", ["home", "registry", "localhost"])
def test_reserved_words_are_no_sites_names(name: str) -> None:
    with pytest.raises(GarageError, match="reserved"):
        allot.site_name(name, [])


@pytest.mark.parametrize("name", ["", "Tsukuba", "a.b", "-a", "a-", "1a", "xn--tst", "a" * 33, "a\n", "ä", "a b", "*"])
def test_what_is_no_dns_label_is_no_sites_name(name: str) -> None:
    with pytest.raises(GarageError) as caught:
        allot.site_name(name, [])
    assert caught.value.code == "invalid_field"


def test_a_name_belongs_to_one_site() -> None:
    assert allot.site_name("tsukuba", {"nagoya"}) == "tsukuba"
    with pytest.raises(GarageError) as caught:
        allot.site_name("tsukuba", {"tsukuba"})
    assert caught.value.code == "already_exists"


def test_link_numbers_only_rise() -> None:
    assert list(allot.link_numbers(0, 3)) == [1, 2, 3]
    assert list(allot.link_numbers(17, 1)) == [18]
    with pytest.raises(GarageError):
        allot.link_numbers(2_000_000_000, 1)


@given(st.lists(st.booleans(), max_size=80))
def test_of_a_run_of_takes_and_frees_no_link_address_is_held_twice(steps: list[bool]) -> None:
    held: dict[int, allot.LinkAddresses] = {}
    last = -1
    for take in steps:
        if take or not held:
            got = next(allot.link_addresses("100.127.0.0/24", LINKS6, held, after=last))
            assert got.slot not in held
            assert got.slot != last
            held[got.slot], last = got, got.slot
        else:
            held.pop(min(held))
        ends = [address for got in held.values() for address in (*got.ipv4, *got.ipv6)]
        assert len(set(ends)) == len(ends)


def test_the_ends_of_a_link_are_the_two_addresses_of_one_prefix() -> None:
    found = allot.link_addresses(allot.LINKS4, LINKS6, set())
    for got in (next(found), next(found)):
        for ends, bits in ((got.ipv4, 31), (got.ipv6, 127)):
            net = ipaddress.ip_network(f"{ends[0]}/{bits}")
            assert [str(address) for address in net] == list(ends)
        assert ipaddress.ip_address(got.ipv4[0]) in ipaddress.ip_network(allot.LINKS4)
        assert ipaddress.ip_address(got.ipv6[0]) in ipaddress.ip_network(LINKS6)


def test_reserved_addresses_are_no_links_and_a_full_range_says_so() -> None:
    reserved = allot.Ranges(["100.127.0.4/30"])
    found = allot.link_addresses("100.127.0.0/28", LINKS6, set(), reserved=reserved)
    slots = []
    with pytest.raises(GarageError) as caught:
        slots.extend(got.slot for got in found)
    assert caught.value.code == "no_address"
    free = []
    for got in allot.link_addresses("100.127.0.0/28", LINKS6, set(), reserved=reserved):
        free.append(got.slot)
        if len(free) == 5:
            break
    assert free == [1, 4, 5, 6, 7]


def test_the_range_of_links_is_clear_of_sites() -> None:
    assert allot.check_link_range4(allot.LINKS4, allot.Ranges(["10.31.0.0/20"])) == allot.LINKS4
    for wrong in ("10.31.4.0/24", "8.8.8.0/24", "100.127.0.1/16", "nonsense", "100.127.0.0/31"):
        with pytest.raises(GarageError) as caught:
            allot.check_link_range4(wrong, allot.Ranges(["10.31.0.0/20"]))
        assert caught.value.code == "config"


@given(st.integers(0, 2**32))
def test_the_ipv6_range_of_links_lies_in_the_registrys_own(seed: int) -> None:
    drawn = ipaddress.IPv6Network(allot.link_range6("fd31:4:5::/48", random.Random(seed)))
    assert drawn.prefixlen == 64
    assert drawn.subnet_of(ipaddress.IPv6Network("fd31:4:5::/48"))
    assert drawn != ipaddress.IPv6Network("fd31:4:5::/64")


@given(st.lists(st.booleans(), max_size=60))
def test_ports_are_the_nodes_own_and_rest_after_use(steps: list[bool]) -> None:
    held: list[int] = []
    last = None
    for take in steps:
        if (take and len(held) < 9) or not held:
            got = allot.port(51_820, 10, held, after=last)
            assert 51_820 <= got < 51_830
            assert got not in (*held, last)
            held.append(got)
            last = got
        else:
            held.pop(0)


def test_without_a_free_port_the_hint_says_what_to_do() -> None:
    assert allot.port(65_530, 100, range(65_530, 65_535)) == 65_535
    with pytest.raises(GarageError, match="UDP ports"):
        allot.port(65_530, 100, range(65_530, 65_536))
