"""What of a registry's table a node lets through."""

from __future__ import annotations

import base64
import hashlib

import msgspec
import pytest

from netd.core.desired import Desired
from netd.core.dnsmasq_text import sites_text
from netd.core.floor import Floor, make_floor
from netd.core.nft_text import skeleton, skeleton_id
from netd.core.overlay import Overlay, interface, make_overlay
from netd.core.token import parse_token
from netd.errors import NetdError
from netd.wire import Allotment, Bridge, Link, LinkSpec, NodeSpec, Table

OWN = ("10.31.0.0/20", "fd31:4:5::/48")
KEY = base64.b64encode(bytes(32)).decode()
BRIDGE = Bridge(
    name="gbtst", mac="52:67:00:00:00:00", ipv4="10.31.0.1", ipv6="fd31:4:5::1", site_ipv4=OWN[0], site_ipv6=OWN[1]
)
NODE = NodeSpec(node="n", instance="tst", version=1, bridge=BRIDGE, domain="home.garage.internal")


def site(name: str, number: int, ipv4: str, ipv6: str, dns4: str = "", dns6: str = "") -> Allotment:
    return Allotment(
        site=name,
        asn=4_200_000_000 + number,
        ipv4=ipv4,
        ipv6=ipv6,
        dns4=dns4 or ipv4.split("/")[0][:-1] + "1",
        dns6=dns6 or ipv6.split("/")[0] + "1",
    )


LINK = Link(
    number=17,
    peer_site="tsukuba",
    peer_node="t1",
    peer_asn=4_200_000_001,
    ipv4="100.64.0.0",
    peer_ipv4="100.64.0.1",
    ipv6="fd99::",
    peer_ipv6="fd99::1",
    own_key=1,
    peer_key=KEY,
    psk=KEY,
    port=51820,
)
SPEC = LinkSpec(site="home1", node="n", version=1, asn=4_200_000_000, links=(LINK,))
TSUKUBA = site("tsukuba", 1, "10.77.0.0/20", "fd77::/48")


def view(*others: Allotment, floor: Floor | None = None, paused: bool = False) -> Overlay:
    table = Table(version=1, domain="garage.internal", sites=(site("home1", 0, *OWN), *others))
    return make_overlay("tst", SPEC, table, floor or Floor(), OWN, paused=paused)


def test_names_of_interfaces_fit_and_differ() -> None:
    assert interface("abc", 17) == "glabch"
    assert len(interface("abc", 2_000_000_000)) <= 15
    assert len({interface("abc", number) for number in range(1, 3000)}) == 2999


def test_another_site_is_let_through_with_its_names() -> None:
    found = view(TSUKUBA)
    assert found.networks == ("10.77.0.0/20", "fd77::/48")
    assert [(zone.domain, zone.servers) for zone in found.zones] == [
        ("tsukuba.garage.internal", ("10.77.0.1", "fd77::1"))
    ]
    assert found.refused == ()
    text = sites_text(Desired(NODE, Floor(), found))
    assert "server=/tsukuba.garage.internal/10.77.0.1@10.31.0.1\n" in text
    assert "rev-server=fd77::/48,fd77::1@fd31:4:5::1\n" in text


@pytest.mark.parametrize(
    ("ipv4", "reason"),
    [
        ("10.31.8.0/21", "this site's own"),
        ("10.16.0.0/12", "this site's own"),
        ("10.9.0.0/20", "closed on this server"),
        ("0.0.0.0/1", "outside the overlay's ranges"),
        ("8.8.8.0/24", "outside the overlay's ranges"),
        ("192.168.1.0/24", "outside the overlay's ranges"),
        ("10.0.0.0/8", "outside the overlay's ranges"),
        ("10.77.0.1/32", "outside the overlay's ranges"),
    ],
)
def test_a_registry_cannot_open_what_is_closed(ipv4: str, reason: str) -> None:
    """The floor, this site's own network and everything public win over an allotment, which is named."""
    found = view(site("liar", 2, ipv4, "fd66::/48", dns4="10.77.0.1"), TSUKUBA, floor=make_floor(["10.9.8.0/24"], []))
    assert found.of(4) == ("10.77.0.0/20",)
    assert len(found.refused) == 1
    assert found.refused[0].startswith(f"liar {ipv4}: ")
    assert reason in found.refused[0]


def test_a_name_server_outside_its_own_site_is_never_asked() -> None:
    found = view(site("liar", 2, "10.66.0.0/20", "fd66::/48", dns4="192.0.2.53", dns6="fd77::1"), TSUKUBA)
    assert [zone.domain for zone in found.zones] == ["tsukuba.garage.internal"]


def test_prefixes_allotted_twice_break_no_rule_set() -> None:
    found = view(TSUKUBA, site("twin", 2, "10.77.0.0/21", "fd77::/56"))
    assert found.networks == ("10.77.0.0/20", "fd77::/48")


def test_a_paused_site_lets_nothing_through() -> None:
    paused = Desired(NODE, Floor(), view(TSUKUBA, paused=True))
    assert "10.77.0.0/20" not in skeleton(paused)
    assert skeleton_id(paused) != skeleton_id(Desired(NODE, Floor(), view(TSUKUBA)))


def test_a_token_is_read_whole_or_refused_without_being_repeated() -> None:
    digest = base64.urlsafe_b64encode(hashlib.sha256(b"key").digest()).decode().rstrip("=")
    token = parse_token(f" gj1.secret-secret-secret.{digest}.\n")
    assert (token.secret, token.registry_key, token.certificate) == (
        "secret-secret-secret",
        hashlib.sha256(b"key").digest(),
        b"",
    )
    for bad in ("", "gj1.a", "gj2.a.b.c", f"gj1.s3cret.{digest[:-3]}.", f"gj1..{digest}.", "gj1.s3cret..", "gj1.s.é.é"):
        with pytest.raises(NetdError) as error:
            parse_token(bad)
        assert error.value.code == "token"
        assert "s3cret" not in str(error.value)


OSAKA = site("osaka", 2, "10.78.0.0/20", "fd78::/48")


def bound(*others: Allotment, sure: tuple[int, ...] = (17,), floor: Floor | None = None) -> dict[str, tuple[str, ...]]:
    """Link 17 leads to tsukuba, 18 is its successor, 19 leads to osaka, 20 to another node of this very site."""
    to_osaka = msgspec.structs.replace(LINK, number=19, peer_site="osaka", peer_asn=OSAKA.asn)
    inside = msgspec.structs.replace(LINK, number=20, peer_site="home1", peer_asn=SPEC.asn)
    links = (LINK, msgspec.structs.replace(LINK, number=18), to_osaka, inside)
    table = Table(version=1, domain="garage.internal", sites=(site("home1", 0, *OWN), *others))
    spec = msgspec.structs.replace(SPEC, links=links)
    found = make_overlay("tst", spec, table, floor or Floor(), OWN, sure=sure)
    text = skeleton(Desired(NODE, Floor(), found))
    assert all(f"jump bound_{b.number}" in text for b in found.bound)
    return {net: b.interfaces for b in found.bound for net in b.networks}


def test_a_site_is_bound_to_all_its_links_once_one_is_sure() -> None:
    ways = (interface("tst", 17), interface("tst", 18))
    assert bound(TSUKUBA, OSAKA) == {"10.77.0.0/20": ways, "fd77::/48": ways}
    assert bound(TSUKUBA, OSAKA, sure=(18,)) == bound(TSUKUBA, OSAKA)
    assert set(bound(TSUKUBA, OSAKA, sure=(17, 19))) == {"10.77.0.0/20", "fd77::/48", "10.78.0.0/20", "fd78::/48"}
    assert bound(TSUKUBA, OSAKA, sure=()) == bound(TSUKUBA, sure=(19, 20)) == {}


@pytest.mark.parametrize("ipv4", ["10.77.0.0/20", "10.77.0.0/22", "10.77.8.0/22", "10.77.12.0/22", "10.76.0.0/15"])
def test_what_is_allotted_twice_binds_nobody(ipv4: str) -> None:
    """A registry that errs: an interval stands in a map once, and neither site loses its packets."""
    twin = site("twin", 3, ipv4, "fd79::/48")
    assert bound(TSUKUBA, twin, OSAKA, sure=(17, 19)).keys() == {"10.78.0.0/20", "fd78::/48"}


def test_what_is_closed_here_is_bound_to_nothing() -> None:
    assert bound(TSUKUBA, floor=make_floor(["10.77.1.0/24"], [])) == {}
