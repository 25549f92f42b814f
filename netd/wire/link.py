"""LinkSpec and Table: all that a registry wants of one node of a site; LinkReport: what netd says about its links.

Neither has a field of NodeSpec: a registry can't speak of bridges, machines or their filters, and a joining node gives it
nothing but the overlay. Private keys never travel.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from netd.wire.node import Refusal
from netd.wire.shapes import Ipv4, Ipv6, Label, Prefix4, Prefix6, Text

SCHEMA = 1
FIRST_ASN, LAST_ASN = 4_200_000_000, 4_294_967_294
"""Private 4-byte AS numbers (RFC 6996, section 5)."""

Asn = Annotated[int, msgspec.Meta(ge=FIRST_ASN, le=LAST_ASN)]
Version = Annotated[int, msgspec.Meta(ge=0)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
WgKey = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=\Z")]
"""A WireGuard key: 32 bytes in base64."""
Endpoint = Annotated[str, msgspec.Meta(pattern=r"^([0-9.]{7,15}|\[[0-9a-f:.]{2,45}\]):[0-9]{1,5}\Z")]
"""ADDRESS:PORT, never a name: nobody's resolver decides where a tunnel leads."""
Domain = Annotated[
    str, msgspec.Meta(pattern=r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9-]{1,63}\Z", max_length=200)
]
Credential = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{20,200}\Z")]


class Link(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One WireGuard tunnel to another node, numbered with a /31 and a /127 (RFC 3021, RFC 6164)."""

    number: Annotated[int, msgspec.Meta(ge=1, le=2_000_000_000)]
    """Unique in the registry and never used again; part of the interface's name at both ends."""
    peer_site: Label
    peer_node: Label
    peer_asn: Asn
    """Equal to the node's own inside a site: iBGP, host routes."""
    ipv4: Ipv4
    """This end's address; the peer's differs in the last bit."""
    peer_ipv4: Ipv4
    ipv6: Ipv6
    peer_ipv6: Ipv6
    own_key: Annotated[int, msgspec.Meta(ge=1)]
    """Which of this node's own key pairs (PublicKey.number) the tunnel uses."""
    peer_key: WgKey
    psk: WgKey
    port: Port
    """Where this end listens (UDP)."""
    endpoints: Annotated[tuple[Endpoint, ...], msgspec.Meta(max_length=8)] = ()
    """Where the peer may be reached, best first; none: wait for the peer."""
    state: Literal["up", "draining"] = "up"
    """`draining`: a newer link takes over; routes prefer every other one."""


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Measure a link's throughput once: the server end listens, the client end sends and then receives."""

    id: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]{1,32}\Z")]
    """Never used again; a node that has done it does not do it twice."""
    link: Annotated[int, msgspec.Meta(ge=1)]
    role: Literal["client", "server"]
    seconds: Annotated[int, msgspec.Meta(ge=1, le=5)]
    """Of each direction."""
    mbit: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    """Most Mb/s that are sent."""
    not_after: float
    """Seconds since 1970; later nothing listens and nothing is sent."""


class LinkSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All that the registry wants of one node: whole, versioned, level-triggered."""

    schema: int = SCHEMA
    site: Label
    node: Label
    version: Annotated[int, msgspec.Meta(ge=1)]
    asn: Asn
    want_key: Annotated[int, msgspec.Meta(ge=1)] = 1
    """The number of the key pair that the node should have by now; it makes what is missing and reports the public part."""
    bfd_ms: Annotated[int, msgspec.Meta(ge=50, le=60_000)] = 1000
    """Interval of BFD's control packets; three missed ones end a link."""
    links: Annotated[tuple[Link, ...], msgspec.Meta(max_length=2000)] = ()
    order: Order | None = None
    """One at a time."""


class Allotment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What belongs to a site, and to nobody else."""

    site: Label
    asn: Asn
    ipv4: Prefix4
    ipv6: Prefix6
    dns4: Ipv4
    """The site's name server, reached over the overlay: its gateway address."""
    dns6: Ipv6


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The allotments of all sites, with a version of its own, the same for every node: a join changes few LinkSpecs."""

    schema: int = SCHEMA
    version: Annotated[int, msgspec.Meta(ge=1)]
    domain: Domain
    """The network's domain; a site's names end in SITE.DOMAIN."""
    sites: Annotated[tuple[Allotment, ...], msgspec.Meta(max_length=20_000)] = ()


class PublicKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The public half of a node's key pair `number`."""

    number: Annotated[int, msgspec.Meta(ge=1)]
    key: WgKey


class LinkState(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How one link fares, seen from this end. Times in ms, counters in bytes since the interface was made."""

    number: Annotated[int, msgspec.Meta(ge=1)]
    state: Literal["waiting", "up", "down"]
    """`waiting`: no handshake yet; `up`: BGP over it is established."""
    seen_at: Endpoint | None = None
    """The peer's outside endpoint, as WireGuard sees it: lets both ends of a NAT open the hole."""
    preference: Annotated[int, msgspec.Meta(ge=0, le=3)] | None = None
    """Class of local preference, 3 best."""
    rtt_ms: Annotated[float, msgspec.Meta(ge=0, le=1e6)] | None = None
    jitter_ms: Annotated[float, msgspec.Meta(ge=0, le=1e6)] | None = None
    loss: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    mtu: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0
    received: Annotated[int, msgspec.Meta(ge=0)] = 0
    sent: Annotated[int, msgspec.Meta(ge=0)] = 0


Bps = Annotated[float, msgspec.Meta(ge=0, le=1e13)]
"""Bits per second."""
Retransmits = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]


class Outcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What became of the last Order. A server end has no figures; it speaks up only when it could not serve."""

    id: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]{1,32}\Z")]
    sent_bps: Bps = 0.0
    """What the peer received, headers not counted."""
    sent_retransmits: Retransmits = 0
    received_bps: Bps = 0.0
    received_retransmits: Retransmits = 0
    """Of the peer's TCP."""
    error: Text = ""
    """Why there are no figures; "" when there are."""


Nonce = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{0,32}\Z")]


class LinkReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What netd says about its own links, and about nobody else's."""

    applied_version: Version
    table_version: Version
    start: Nonce = ""
    """Drawn when netd started: two that take turns are two servers with one node's files."""
    place: Nonce = ""
    """Of the installation; another one for a copy of its files."""
    refusal: Refusal | None = None
    keys: Annotated[tuple[PublicKey, ...], msgspec.Meta(max_length=4)] = ()
    endpoints: Annotated[tuple[Endpoint, ...], msgspec.Meta(max_length=8)] = ()
    """Where this node believes it can be reached, e.g. its native IPv6 address; ports by link are Link.port."""
    links: Annotated[tuple[LinkState, ...], msgspec.Meta(max_length=2000)] = ()
    outcome: Outcome | None = None
    """Said again until there is another one."""
    kernel: bool = False
    """Whether the server's kernel makes WireGuard interfaces; otherwise each link is a process, and fewer are carried."""
    paused: bool = False
    ipv4: Prefix4 | None = None
    ipv6: Prefix6 | None = None
    """What the site uses: other than what it was given until it is renumbered."""
    alarms: Annotated[tuple[Text, ...], msgspec.Meta(max_length=20)] = ()
    """E.g. "site nagoya announces 10.1.0.0/20, which is not its own"."""
    problems: Annotated[tuple[Text, ...], msgspec.Meta(max_length=20)] = ()


class JoinRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Sent once, with the token of an invitation. The prefixes are those the site already uses."""

    token: Credential
    node: Label
    ipv4: Prefix4
    ipv6: Prefix6
    key: WgKey
    """Public key of the node's key pair 1."""
    port: Port
    """First of the UDP ports that the node's links may use."""
    ports: Annotated[int, msgspec.Meta(ge=1, le=2000)] = 100
    """How many there are from `port` on."""
    endpoints: Annotated[tuple[Endpoint, ...], msgspec.Meta(max_length=8)] = ()
    kernel: bool = False
    """As in LinkReport."""
    time: float = 0.0
    """The node's clock, seconds since 1970: a clock that is off is refused with the difference."""


class JoinAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a joining node goes on with; arrives whole or not at all."""

    site: Label
    credential: Credential
    """The node's own bearer token at the registry; kept in a file of mode 0600."""
    registry_key: str
    """PEM of the Ed25519 key that signs LinkSpec and Table; the invitation pins its SHA-256."""
    spec: bytes
    """Sealed LinkSpec."""
    table: bytes
    """Sealed Table."""


class News(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The answer to a poll: what is newer than the node's, sealed."""

    spec: bytes | None = None
    table: bytes | None = None


Way = Literal["open", "cone", "symmetric", "closed"]


class Outside(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the registry believes that a node is reached, by what its peers see of it; an address that nobody has seen is None."""

    address4: Ipv4 | None = None
    way4: Way = "closed"
    address6: Ipv6 | None = None
    way6: Way = "closed"
