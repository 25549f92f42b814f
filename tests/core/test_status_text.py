"""What `netd status` and `netd plan` print, and the documents' difference in words."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from netd.core.documents import differences
from netd.core.status_text import plan_text, size, status_text, table
from netd.told import Told, since
from netd.wire import Allotment, Link, LinkReport, LinkSpec, LinkState, Table

KEYS = [f"{letter * 42}A=" for letter in "AB"]
LINK = Link(
    number=3,
    peer_site="osaka",
    peer_node="osaka",
    peer_asn=4_200_000_002,
    ipv4="100.127.0.0",
    peer_ipv4="100.127.0.1",
    ipv6="fd91::",
    peer_ipv6="fd91::1",
    own_key=1,
    peer_key=KEYS[0],
    psk=KEYS[0],
    port=51_820,
    endpoints=("192.0.2.7:51820",),
)
SPEC = LinkSpec(site="nagoya", node="nagoya", version=4, asn=4_200_000_001, links=(LINK,))
OSAKA = Allotment(
    site="osaka", asn=4_200_000_002, ipv4="10.42.0.0/20", ipv6="fd42::/48", dns4="10.42.0.1", dns6="fd42::1"
)
TABLE = Table(version=2, domain="garage.internal", sites=(OSAKA,))
SHOWN: dict[str, Any] = {
    "registry": "https://192.0.2.1:8443",
    **{"site": "nagoya", "domain": "garage.internal", "asn": 4_200_000_001, "spec_version": 4, "table_version": 2},
    **{"sites": 2, "refusal": None, "paused": False, "daemon": True, "measured_at": 95.0, "registry_heard_at": 40.0},
    **{"closed_here": [], "alarms": [], "problems": []},
    "links": [
        {
            **{"number": 3, "interface": "glabc3", "peer_site": "osaka", "peer_node": "osaka", "draining": False},
            **{"state": "up", "since": 10.0, "rtt_ms": 12.34, "loss": 0.015, "class": 2, "mtu": 1420},
            **{"endpoint": "192.0.2.7:51820", "received": 1_234_567, "sent": 89},
        }
    ],
}


def shown(**more: Any) -> str:
    return status_text({"node": "nagoya", "overlay": SHOWN | more}, 100.0)


def test_links_are_a_table() -> None:
    lines = shown().splitlines()
    assert lines[-2].split() == [
        *("LINK", "PEER", "STATE", "SINCE", "RTT", "LOSS", "CLASS", "ENDPOINT", "MTU", "IN", "OUT")
    ]
    assert lines[-1].split()[:3] == ["glabc3", "osaka", "up"]
    for text in ("90 s", "12.3 ms", "1.5 %", "192.0.2.7:51820", "1420", "1.2 MB", "89 B"):
        assert text in lines[-1]


def test_what_is_not_as_usual_is_said() -> None:
    calm = shown()
    assert "1 of 1 links up" in calm
    assert "answered 60 s ago" in calm
    for word in ("PAUSED", "not running", "refused", "alarms", "problems", "closed here"):
        assert word not in calm
    refusal = {"version": 9, "code": "signature", "text": "not signed"}
    loud = shown(
        paused=True, daemon=False, refusal=refusal, alarms=["osaka announces 10.0.0.0/8"], closed_here=["kyoto …"]
    )
    for word in ("PAUSED", "netd run is not running", "version 9: signature: not signed", "osaka announces", "kyoto"):
        assert word in loud


def test_lines_are_told_where_netd_toml_has_some() -> None:
    assert "lines " not in shown()
    full = {"name": "eth1", "month": "2026-11", "used": 3 << 29, "cap": 500 << 30, "rate_mbit": 20.0}
    lines = [full, {"name": "eth2", "month": None, "used": 0, "cap": None, "rate_mbit": None}]
    assert "lines        eth1: 1.5 of 500 GiB in 2026-11, 20 Mb/s; eth2: no limits" in shown(lines=lines)
    stopped = shown(lines=lines, paused=True, capped=True)
    assert "STOPPED: a line's volume is used up" in stopped
    assert "netd resume" not in stopped, "it would not help"


def test_a_lone_site_says_so() -> None:
    assert "none (netd join URL)" in status_text({"node": "a", "overlay": None}, 0.0)


def test_documents_differ_by_links_sites_and_fields() -> None:
    other = replace(LINK, number=5, peer_site="kyoto", peer_node="kyoto2", endpoints=())
    moved = replace(LINK, endpoints=("192.0.2.8:51820",), psk=KEYS[1], peer_key=KEYS[1], state="draining")
    after = replace(SPEC, version=5, bfd_ms=300, links=(moved, other))
    said = differences((SPEC, TABLE), (after, replace(TABLE, version=3, sites=())))
    assert said[0] == "bfd_ms 1000 → 300"
    assert "+ link 5 to kyoto2 of kyoto" in said
    assert "~ link 3 to osaka: endpoints 192.0.2.7:51820 → 192.0.2.8:51820" in said
    assert "~ link 3 to osaka: state up → draining" in said
    assert "- site osaka" in said
    assert differences((SPEC, TABLE), (replace(SPEC, version=9), TABLE)) == []
    assert differences((None, None), (SPEC, TABLE)) == [
        "+ link 3 to osaka at 192.0.2.7:51820",
        "+ site osaka with 10.42.0.0/20, fd42::/48, AS 4200000002",
    ]


def test_no_secret_is_said() -> None:
    said = "\n".join(
        differences((SPEC, TABLE), (replace(SPEC, links=(replace(LINK, psk=KEYS[1], peer_key=KEYS[1]),)), TABLE))
    )
    assert "psk changes" in said
    assert not [key for key in KEYS if key in said]


def test_plan_is_short_unless_the_whole_is_wanted() -> None:
    plan = {
        "items": ["nft table inet a\ntable inet a {\n}", "make glabc3"],
        "overlay": {"spec_version": [4, 5], "table_version": [2, 2], "changes": ["+ link 5 to kyoto"]},
        "notes": ["the controller does not answer"],
    }
    assert plan_text(plan).splitlines() == [
        "! the controller does not answer",
        "registry: links 4 → 5",
        "  + link 5 to kyoto",
        "nft table inet a … (2 lines more: netd --verbose plan)",
        "make glabc3",
    ]
    assert "table inet a {" in plan_text(plan, whole=True)
    assert plan_text({"items": [], "overlay": None, "notes": []}) == "nothing to change"


def test_since_goes_on_while_the_state_stays() -> None:
    def report(*states: str) -> LinkReport:
        links = tuple(LinkState(number=n, state=state) for n, state in enumerate(states, 1))  # type: ignore[arg-type]
        return LinkReport(applied_version=1, table_version=1, links=links)

    first = since(None, report("up", "waiting"), 100.0)
    assert first == {1: 100.0, 2: 100.0}
    told = Told(at=100.0, report=report("up", "waiting"), since=first)
    assert since(told, report("up", "up", "down"), 130.0) == {1: 100.0, 2: 130.0, 3: 130.0}


def test_sizes_and_columns() -> None:
    assert [size(n) for n in (0, 999, 1000, 12_345_678, 5e12)] == ["0 B", "999 B", "1.0 kB", "12.3 MB", "5.0 TB"]
    assert table([("A", "B"), ("long", "x")]) == "A     B\nlong  x"
