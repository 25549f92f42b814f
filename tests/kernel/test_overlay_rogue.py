"""A registry in somebody else's hands signs what it likes; this server's floor and office file hold. All real, in namespaces.

tsukuba (the registry, rogue) ──(4 ms)──┐
nagoya ───(6 ms)────────────────────────┤ internet (9.9.9.9)
 ├── vm 10.41.0.x                       │
 └── office 192.168.77.7                │
liar ─────(5 ms)────────────────────────┘ in league with the registry: has 9.9.9.9, 192.168.77.7, 10.41.0.200 … itself

The rogue answers at the registry's address with its certificate and its key. vm's echoes to tsukuba run all along.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from netd.core.overlay import interface
from netd.lab.parse import parse
from netd.lab.world import World
from netd.wire import Allotment, LinkSpec, News
from netd.wire.envelope import Envelope
from netd.wire.link import FIRST_ASN
from tests.overlayhostile import INTERNET, OFFICE, OFFICE_HOST, PATIENCE, TOPOLOGY, Hostile
from tests.overlayrogue import Rogue, pretty
from tests.overlaysink import PORT, Sink

pytestmark = pytest.mark.kernel

UPLINK = "203.0.113.8/29"
"""The victim's own address is in it."""
EVIL = {
    "office": (OFFICE, "fc00::/7"),
    "lan": ("10.41.0.0/24", "fd41::/64"),
    "all": ("0.0.0.0/0", "::/0"),
    "half": ("0.0.0.0/1", "2000::/3"),
    "loopback": ("127.0.0.0/8", "::1/128"),
    "uplink": (UPLINK, "2001:db8:2::/64"),
    "somebody": ("9.9.9.0/24", "2001:4860::/32"),
    "links": ("100.64.0.0/10", "fe80::/10"),
    "whole": ("10.0.0.0/8", "fd00::/8"),
    "host": ("10.30.0.1/32", "fd30::1/128"),
}


class Taken:
    """The overlay with its registry in the wrong hands."""

    def __init__(self, world: World) -> None:
        self.hostile = Hostile(world)
        self.net, self.guest = self.hostile.net, self.hostile.guest
        for address in (OFFICE_HOST, INTERNET, "10.41.0.200", "203.0.113.9", "100.64.9.9"):
            self.net.run("liar", ["ip", "address", "add", f"{address}/32", "dev", "lo"])
        self.sinks = {
            **self.hostile.sinks,
            "liar": Sink(partial(world.argv, "liar"), self.net.folder / "sink-liar.log"),
        }
        self.rogue = Rogue(self.net, "nagoya")

    def close(self) -> None:
        self.sinks["liar"].close()
        self.hostile.close()


@pytest.fixture(scope="module")
def taken() -> Iterator[Taken]:
    with World(parse(TOPOLOGY)) as world:
        world.exec("internet", ["ip", "address", "add", f"{INTERNET}/32", "dev", "lo"])
        made = Taken(world)
        try:
            yield made
        finally:
            made.close()


@pytest.fixture(autouse=True)
def others_notice_nothing(taken: Taken) -> Iterator[None]:
    with taken.hostile.unharmed():
        yield


def link(spec: LinkSpec, **changes: Any) -> dict[str, Any]:
    """The link to the liar, changed."""
    return {
        "links": tuple(
            msgspec.structs.replace(item, **changes) if item.peer_site == "liar" else item for item in spec.links
        )
    }


def many(spec: LinkSpec, count: int) -> dict[str, Any]:
    """So many links, each by itself as it should be."""
    made = tuple(
        msgspec.structs.replace(
            spec.links[0],
            number=1000 + n,
            port=20_000 + n,
            ipv4=f"100.{80 + n // 8192}.{n // 32 % 256}.{n % 32 * 2}",
            peer_ipv4=f"100.{80 + n // 8192}.{n // 32 % 256}.{n % 32 * 2 + 1}",
            ipv6=f"fd99::{256 + 2 * n:x}",
            peer_ipv6=f"fd99::{257 + 2 * n:x}",
        )
        for n in range(count)
    )
    return {"links": made}


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        (lambda s: link(s, endpoints=("127.0.0.1:51820",)), "content", "nobody else can be at 127.0.0.1:51820"),
        (lambda s: link(s, ipv6="fd41::2", peer_ipv6="fd41::3"), "content", "this site's own network"),
        (lambda s: link(s, ipv4="203.0.113.10", peer_ipv4="203.0.113.11"), "content", "outside of 100.64.0.0/10"),
        (lambda s: link(s, ipv4="192.168.77.6", peer_ipv4="192.168.77.7"), "content", "outside of 100.64.0.0/10"),
        (lambda s: link(s, port=22), "content", "listens on 22"),
        (lambda s: many(s, 2000), "content", "listens on 20000"),
        (lambda s: many(s, 2001), "schema", "2000"),
        (lambda _: {"site": "tsukuba"}, "node", "the spec is for"),
        (lambda _: {"version": 1}, "version", "older"),
        (lambda _: {"bfd_ms": 1}, "schema", "50"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_spec_that_reaches_for_more_is_refused_with_a_reason(
    taken: Taken, changes: Any, code: str, text: str
) -> None:
    said = taken.rogue.tell(spec=changes(taken.rogue.spec))
    assert said.refusal is not None, pretty(said)
    assert (said.refusal.code, text in said.refusal.text) == (code, True), said.refusal.text


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        (lambda t: {"domain": "example.com"}, "content", "the domain is example.com"),
        (lambda t: {"sites": [site for site in t.sites if site.site != "nagoya"]}, "content", "no site nagoya"),
        (lambda t: {"sites": [*t.sites, t.sites[0]]}, "content", "twice"),
        (lambda t: {"sites": [t.sites[0]] * 20_001}, "schema", "20000"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_table_that_contradicts_itself_is_refused(taken: Taken, changes: Any, code: str, text: str) -> None:
    said = taken.rogue.tell(table=changes(taken.rogue.table))
    assert said.refusal is not None, pretty(said)
    assert (said.refusal.code, text in said.refusal.text) == (code, True), said.refusal.text


def test_another_key_and_what_cannot_be_read_are_refused(taken: Taken) -> None:
    said = taken.rogue.tell(spec={}, key=Ed25519PrivateKey.generate())
    assert said.refusal is not None
    assert said.refusal.code == "signature"
    deep = msgspec.json.encode(Envelope(payload=b'{"a":' + b"[" * 100_000, signature=b"no"))
    said = taken.rogue.tell_bytes(News(spec=deep))
    assert said.refusal is not None
    assert said.refusal.code == "signature"


def test_no_office_is_knocked_at(taken: Taken) -> None:
    """WireGuard's first message goes to an endpoint in the internet, and to none in the office behind this server."""
    spec, ports = taken.rogue.spec, {item.port for item in taken.rogue.spec.links}
    free = [port for port in range(min(ports), min(ports) + 100) if port not in ports]
    more = [
        msgspec.structs.replace(
            item,
            number=900_000 + n,
            port=free[n],
            endpoints=(f"{host}:{PORT}",),
            peer_key=item.psk,
            peer_site="thief",
            peer_asn=FIRST_ASN + 90,
        )
        for n, (item, host) in enumerate(zip(many(spec, 2)["links"], (OFFICE_HOST, INTERNET), strict=True))
    ]
    before = {name: len(taken.sinks[name].texts()) for name in ("office", "internet")}
    said = taken.rogue.tell(spec={"links": (*spec.links, *more)})
    assert said.refusal is None, pretty(said)
    taken.net.until(lambda: len(taken.sinks["internet"].texts()) > before["internet"], "a handshake comes", PATIENCE)
    time.sleep(2)
    assert len(taken.sinks["office"].texts()) == before["office"]
    said = taken.rogue.tell(spec={})
    assert said.refusal is None, pretty(said)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (lambda s: link(s, peer_asn=s.asn), "liar is not this very site, and yet AS"),
        (lambda s: link(s, peer_site="nagoya"), "nagoya is this very site, and yet not AS"),
        (lambda s: link(s, peer_asn=FIRST_ASN + 91), "the table says"),
        (lambda s: {"asn": FIRST_ASN + 92}, "the table says"),
    ],
)
def test_nobody_is_made_a_node_of_this_site_by_a_number(taken: Taken, changes: Any, text: str) -> None:
    said = taken.rogue.tell(spec=changes(taken.rogue.spec))
    assert said.refusal is not None, pretty(said)
    assert (said.refusal.code, text in said.refusal.text) == ("content", True), said.refusal.text


def test_a_node_that_only_the_registry_calls_this_sites_own_gets_no_link(taken: Taken) -> None:
    """Inside it could speak with this site's addresses, be sent its machines' packets, and go on through a pause."""
    spec, ports = taken.rogue.spec, {item.port for item in taken.rogue.spec.links}
    thief = msgspec.structs.replace(
        many(spec, 1)["links"][0],
        number=900_010,
        port=next(port for port in range(min(ports), min(ports) + 100) if port not in ports),
        endpoints=(f"{INTERNET}:{PORT}",),
        peer_site="nagoya",
        peer_node="node9",
        peer_asn=spec.asn,
    )
    before = len(taken.sinks["internet"].texts())
    said = taken.rogue.tell(spec={"links": (*spec.links, thief)})
    assert said.refusal is None, pretty(said)
    words = "node node9 of this very site: neither its controller nor “peers” in netd.toml names it"
    assert words in said.problems
    assert words in taken.hostile.net.sites["nagoya"].netd("status")
    instance = taken.hostile.net.sites["nagoya"].network.instance
    assert interface(instance, thief.number) not in taken.net.run("nagoya", ["ip", "-br", "link"])
    inside = taken.net.run("nagoya", ["nft", "list", "set", "inet", f"garage_{instance}", "inside"])
    assert "elements" not in inside
    time.sleep(1)
    assert len(taken.sinks["internet"].texts()) == before
    said = taken.rogue.tell(spec={})
    assert words not in said.problems


def test_what_is_closed_here_stays_closed_whatever_is_allotted(taken: Taken) -> None:
    """The document is taken, as other sites may be right in it; its evil parts are named, filtered, routed nowhere. The liar announces
    them all as the registry allotted them."""
    hostile, rogue = taken.hostile, taken.rogue
    sites = [
        Allotment(site=f"evil-{name}", asn=FIRST_ASN + 20 + n, ipv4=v4, ipv6=v6, dns4="10.30.0.1", dns6="fd30::1")
        for n, (name, (v4, v6)) in enumerate(EVIL.items())
    ]
    said = rogue.tell(table=rogue.with_sites(sites))
    assert said.refusal is None, pretty(said)
    status = hostile.net.sites["nagoya"].netd("status", "-o", "json")
    assert all(f"evil-{name} {net}: " in status for name, nets in EVIL.items() for net in nets)
    for site in sites:
        for net in (site.ipv4, site.ipv6):
            hostile.liar.announce(net, [site.asn])
    for net in (sites[-1].ipv4, sites[-1].ipv6, OFFICE):
        hostile.net.until(lambda n=net: hostile.received(n), f"{net} arrives", PATIENCE)
    for site in sites:
        assert hostile.from_liar(site.ipv4) == hostile.from_liar(site.ipv6) == []
    routes = "".join(hostile.net.run("nagoya", ["ip", family, "route"]) for family in ("-4", "-6"))
    lines = [line for line in routes.splitlines() if f"dev {hostile.device} " in line and "proto bgp" in line]
    assert sorted(line.split()[0] for line in lines) == ["10.42.0.0/20", "fd42::/48"]


@pytest.mark.parametrize(
    ("target", "arrives_at"),
    [(INTERNET, "internet"), (OFFICE_HOST, ""), ("10.41.0.200", ""), ("203.0.113.9", ""), ("100.64.9.9", "")],
)
def test_packets_from_inside_do_not_reach_the_thief(taken: Taken, target: str, arrives_at: str) -> None:
    """Nor the office. The internet is reached by this site's own uplink, as always. Runs after the table above was taken."""
    text = f"from vm to {target}"
    code = f"import socket; socket.socket(2, 2).sendto({text.encode()!r}, ('{target}', {PORT}))"
    taken.guest.run("python3", "-c", code, check=False)
    if arrives_at:
        assert taken.sinks[arrives_at].has(text)
    control = f"control of {target}"
    code = f"import socket; socket.socket(2, 2).sendto({control.encode()!r}, ('{INTERNET}', {PORT}))"
    taken.guest.run("python3", "-c", code)
    assert taken.sinks["internet"].has(control)
    time.sleep(0.3)
    assert not [name for name, sink in taken.sinks.items() if text in sink.texts() and name != arrives_at]


@pytest.mark.parametrize("source", [OFFICE_HOST, INTERNET, "203.0.113.9", "10.41.0.200"])
def test_packets_of_the_thief_do_not_come_in(taken: Taken, source: str) -> None:
    assert not taken.hostile.arrives(source, taken.guest.address4, "vm", f"thief's from {source}")
