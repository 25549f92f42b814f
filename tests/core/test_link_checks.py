"""What a registry may not say, even under its own signature; and what a node tells it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from netd.core.link_checks import check_link_spec, check_table, without_closed
from netd.core.link_report import Seen, link_states
from netd.wire import Allotment, LinkSpec, SpecError, Table
from tests.core.test_table import LINK, SPEC, TSUKUBA, site

PORTS = range(51820, 51920)


def refusal(spec: LinkSpec, *, in_force: int = 0, closed: str = "") -> tuple[str, str]:
    with pytest.raises(SpecError) as error:
        check_link_spec(
            spec,
            **{"site": "home1", "node": "n"},
            in_force=in_force,
            ports=PORTS,
            closed={closed: "closed on this server"} if closed else {},
        )
    return error.value.code, error.value.text


def changed(**values: Any) -> LinkSpec:
    return msgspec.structs.replace(SPEC, links=(msgspec.structs.replace(LINK, **values),))


def test_a_sound_spec_passes() -> None:
    check_link_spec(SPEC, site="home1", node="n", in_force=1, ports=PORTS, closed={})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"port": 22}, "outside of 51820-51919"),
        ({"ipv4": "192.168.1.0", "peer_ipv4": "192.168.1.1"}, "outside of 100.64.0.0/10"),
        ({"ipv6": "2001:db8::", "peer_ipv6": "2001:db8::1"}, "outside of fd00::/8"),
        ({"peer_ipv4": "100.64.0.2"}, "not the two ends of a /31"),
        ({"peer_ipv4": "100.64.0.0"}, "not the two ends of a /31"),
        ({"peer_ipv6": "fd99::2"}, "not the two ends of a /127"),
        ({"ipv4": "999.1.1.1"}, "999.1.1.1"),
        ({"ipv6": "fd99:0::", "peer_ipv6": "fd99::1"}, "not written as an address is"),
        *(
            ({"endpoints": (f"{host}:51820",)}, "nobody else can be at")
            for host in (
                *("127.0.0.1", "0.0.0.0", "224.0.0.1", "169.254.169.254", "255.255.255.255"),
                *("[::1]", "[::]", "[ff02::1]", "[fe80::1]", "[::ffff:127.0.0.1]"),
            )
        ),
        ({"endpoints": ("203.0.113.1:0",)}, "nobody else can be at"),
        ({"endpoints": ("203.0.113.1:70000",)}, "nobody else can be at"),
        ({"endpoints": ("203.0.113.999:51820",)}, "203.0.113.999"),
    ],
)
def test_a_link_that_would_lead_elsewhere_is_refused(values: dict[str, Any], said: str) -> None:
    code, text = refusal(changed(**values))
    assert code == "content"
    assert said in text


def test_no_closed_network_is_led_into_a_tunnel() -> None:
    """A carrier's shared address on the uplink: the registry's link range must not take it over."""
    for closed in ("100.64.0.0/24", "fd99::/48"):
        code, text = refusal(SPEC, closed=closed)
        assert (code, f"lies in {closed}, which is closed on this server" in text) == ("content", True)


def test_others_documents_and_old_ones_are_refused() -> None:
    assert refusal(msgspec.structs.replace(SPEC, node="other"))[0] == "node"
    assert refusal(msgspec.structs.replace(SPEC, site="other"))[0] == "node"
    assert refusal(SPEC, in_force=2)[0] == "version"
    assert refusal(msgspec.structs.replace(SPEC, schema=2))[0] == "schema"


def test_two_links_share_no_number_port_or_address() -> None:
    other = msgspec.structs.replace(LINK, number=18, port=51821, ipv4="100.64.0.2", peer_ipv4="100.64.0.3")
    other = msgspec.structs.replace(other, ipv6="fd99::2", peer_ipv6="fd99::3")
    check_link_spec(
        msgspec.structs.replace(SPEC, links=(LINK, other)),
        site="home1",
        node="n",
        in_force=0,
        ports=PORTS,
        closed={},
    )
    for field in ("number", "port", "ipv4"):
        twin = msgspec.structs.replace(other, **{field: getattr(LINK, field)})
        if field == "ipv4":
            twin = msgspec.structs.replace(twin, peer_ipv4=LINK.peer_ipv4)
        assert "twice" in refusal(msgspec.structs.replace(SPEC, links=(LINK, twin)))[1]


def test_a_table_is_refused_for_what_is_there_twice() -> None:
    own = site("home1", 0, "10.31.0.0/20", "fd31:4:5::/48")

    def table(*sites: Allotment, version: int = 1) -> Table:
        return Table(version=version, domain="garage.internal", sites=sites)

    def check(wanted: Table, *, in_force: int = 0) -> None:
        check_table(wanted, site="home1", in_force=in_force, domain="garage.internal")

    check(table(own, TSUKUBA), in_force=1)
    for bad in (
        table(own, TSUKUBA, TSUKUBA),
        table(own, msgspec.structs.replace(TSUKUBA, asn=own.asn)),
        table(TSUKUBA),
        table(own, msgspec.structs.replace(TSUKUBA, ipv4="10.0.0.0/99")),
        table(own, msgspec.structs.replace(TSUKUBA, dns6="fd77:::1")),
        table(own, msgspec.structs.replace(TSUKUBA, ipv4="10.77.0.1/20")),
        table(own, msgspec.structs.replace(TSUKUBA, ipv6="fd77:0::/48")),
        msgspec.structs.replace(table(own, TSUKUBA), domain="example.com"),
    ):
        with pytest.raises(SpecError) as error:
            check(bad)
        assert error.value.code == "content"
    with pytest.raises(SpecError, match="older"):
        check(table(own), in_force=2)


def test_a_peer_in_a_private_network_beside_this_server_is_reached() -> None:
    """Two garages in one office: both ends have private addresses."""
    spec = changed(endpoints=("192.168.1.7:51820", "[fd12::7]:51820", "[2001:db8::7]:51820"))
    check_link_spec(spec, site="home1", node="n", in_force=0, ports=PORTS, closed={})


def test_endpoints_in_closed_networks_are_left_out_but_not_those_beside_this_server() -> None:
    office, beside = ("192.168.77.7:51820", "[fd12::7]:51820"), ("192.168.1.7:51820", "203.0.113.9:51820")
    spec = changed(endpoints=(*office, *beside, "[::ffff:192.168.77.8]:51820"))
    closed = ("192.168.0.0/16", "fd12::/64")
    assert without_closed(spec, closed, ("192.168.1.0/24",)).links[0].endpoints == beside
    assert without_closed(spec, closed, ()).links[0].endpoints == beside[1:]
    assert without_closed(SPEC, closed, ()) is SPEC
    named = ("192.168.1.7/32", "203.0.113.0/24")
    assert without_closed(spec, (*closed, *named), ("192.168.1.0/24",), named).links[0].endpoints == ()


def test_a_report_tells_of_every_link_what_is_known() -> None:
    spec = msgspec.structs.replace(SPEC, links=tuple(msgspec.structs.replace(LINK, number=n) for n in (17, 18, 19)))
    seen = {17: Seen(handshake_age=3.0, rtt_ms=4.3219, loss=0.01234), 18: Seen(handshake_age=900.0)}
    states = link_states(spec, seen, {17}, {17: 3})
    assert [(s.number, s.state, s.preference, s.rtt_ms, s.loss) for s in states] == [
        (17, "up", 3, 4.32, 0.0123),
        (18, "down", None, None, None),
        (19, "waiting", None, None, None),
    ]


def test_a_peer_is_seen_only_where_it_answered_from() -> None:
    """WireGuard shows the endpoint that netd tries next in the same place: told as seen, it would hide what other peers see."""
    links = tuple(msgspec.structs.replace(LINK, number=number) for number in (1, 2, 3, 4))
    spec = msgspec.structs.replace(SPEC, links=links)
    at = {number: f"198.51.100.{number}:51820" for number in (1, 2, 3, 4)}
    ages = {1: 100.0, 2: 5.0, 3: 100.0, 4: None}
    seen = {number: Seen(handshake_age=ages[number], seen_at=at[number]) for number in at}
    assert [s.seen_at for s in link_states(spec, seen, {1}, {})] == [at[1], at[2], None, None]
