"""The registry's tables: sites, their nodes and keys, invitations, links, and what nodes say of links.

All changes to them are made under the lock of `Counter` "serial" (`services/overlay_state.py`), one at a time on both databases.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from garage.db.models import Base, Id, Json

Name = String(63)
Big = BigInteger


class Counter(Base):
    """Numbers that only grow: "serial" (of versions), "table" (its version), "link", "dirty" (changes not yet looked into)."""

    __tablename__ = "counter"
    name: Mapped[str] = mapped_column(String(16), primary_key=True)
    value: Mapped[int] = mapped_column(Big, default=0)


class Site(Base):
    __tablename__ = "site"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(Name, unique=True)
    asn: Mapped[int] = mapped_column(Big, unique=True)
    ipv4: Mapped[str] = mapped_column(String(18), unique=True)
    ipv6: Mapped[str] = mapped_column(String(43), unique=True)
    proposed_ipv4: Mapped[str] = mapped_column(String(18))
    """What the site uses, as it proposed and as its nodes say since; where it differs from `ipv4` the site has to renumber."""
    proposed_ipv6: Mapped[str] = mapped_column(String(43))
    own: Mapped[bool] = mapped_column(default=False)
    """The registry's own site; can't be removed."""
    hub: Mapped[bool] = mapped_column(default=False)
    relay: Mapped[bool] = mapped_column(default=True)
    """It may be made a hub, which carries other sites' packets."""
    latitude: Mapped[float | None]
    """Degrees (WGS 84), north and east positive; only for the map."""
    longitude: Mapped[float | None]
    created_at: Mapped[float]


class SiteNode(Base):
    __tablename__ = "site_node"
    __table_args__ = (UniqueConstraint("site_id", "name"),)
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    site_id: Mapped[str] = mapped_column(ForeignKey("site.id"))
    name: Mapped[str] = mapped_column(Name)
    credential_hash: Mapped[str] = mapped_column(String(64), unique=True)
    port: Mapped[int]
    ports: Mapped[int]
    kernel: Mapped[bool] = mapped_column(default=False)
    """Its links are the kernel's, so that it carries more of them."""
    addresses: Mapped[list[str]]
    """Its own, as it reports them; the best first."""
    outside4: Mapped[str] = mapped_column(String(15), default="")
    """The address that its peers see it at; "" while unknown."""
    outside6: Mapped[str] = mapped_column(String(39), default="")
    way4: Mapped[str] = mapped_column(String(10))
    """`core.topology.Way`."""
    way6: Mapped[str] = mapped_column(String(10))
    spec_version: Mapped[int] = mapped_column(Big, index=True)
    want_key: Mapped[int] = mapped_column(default=1)
    applied_version: Mapped[int] = mapped_column(Big, default=0)
    table_version: Mapped[int] = mapped_column(Big, default=0)
    refusal: Mapped[Json | None]
    paused: Mapped[bool] = mapped_column(default=False)
    alarms: Mapped[list[str]] = mapped_column(default=list)
    problems: Mapped[list[str]] = mapped_column(default=list)
    reported_at: Mapped[float | None]
    starts: Mapped[Json | None]
    """`core.twins.Heard`, packed."""
    joined_at: Mapped[float]


class NodeKey(Base):
    """Public halves of key pairs; nobody's key is another's."""

    __tablename__ = "node_key"
    node_id: Mapped[str] = mapped_column(ForeignKey("site_node.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(44), unique=True)


class SiteInvitation(Base):
    __tablename__ = "site_invitation"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    hash: Mapped[str] = mapped_column(String(64), unique=True)
    site: Mapped[str] = mapped_column(Name, index=True)
    own: Mapped[bool] = mapped_column(default=False)
    """For the registry's own site."""
    adds_node: Mapped[bool] = mapped_column(default=False)
    """For one more node of a site that is a member."""
    created_by: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[float]
    expires_at: Mapped[float]
    withdrawn_at: Mapped[float | None]
    used_at: Mapped[float | None]
    used_key: Mapped[str] = mapped_column(String(44), default="")
    node_id: Mapped[str] = mapped_column(Id, default="")
    credential: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Encrypted; given again to the same key until the invitation expires, then forgotten."""


class Link(Base):
    """A tunnel between two nodes, end "a" being the one with the lesser id."""

    __tablename__ = "link"
    number: Mapped[int] = mapped_column(Big, primary_key=True, autoincrement=False)
    slot: Mapped[int] = mapped_column(unique=True)
    """Which /31 and /127 of the link ranges; used again after the link is gone."""
    a_id: Mapped[str] = mapped_column(ForeignKey("site_node.id"), index=True)
    b_id: Mapped[str] = mapped_column(ForeignKey("site_node.id"), index=True)
    a_port: Mapped[int]
    b_port: Mapped[int]
    a_key: Mapped[int]
    b_key: Mapped[int]
    a_endpoints: Mapped[list[str]]
    """Where end a may be reached; told to end b."""
    b_endpoints: Mapped[list[str]]
    psk: Mapped[bytes] = mapped_column(LargeBinary)
    """Encrypted at rest."""
    state: Mapped[str] = mapped_column(String(10), default="up")
    reason: Mapped[str] = mapped_column(String(10))
    replaces: Mapped[int | None] = mapped_column(Big)
    """The older link between the same nodes that this one takes over from."""
    draining_since: Mapped[float | None]
    created_at: Mapped[float]


class LinkEnd(Base):
    """The latest that one end said of a link; units as in `netd.wire.LinkState`."""

    __tablename__ = "link_end"
    __table_args__ = (Index("ix_link_end_node", "node_id"),)
    number: Mapped[int] = mapped_column(ForeignKey("link.number"), primary_key=True, autoincrement=False)
    node_id: Mapped[str] = mapped_column(ForeignKey("site_node.id"), primary_key=True)
    state: Mapped[str] = mapped_column(String(10))
    since: Mapped[float]
    """When `state` began."""
    seen_at: Mapped[str] = mapped_column(String(64), default="")
    preference: Mapped[int | None]
    rtt_ms: Mapped[float | None]
    jitter_ms: Mapped[float | None]
    loss: Mapped[float | None]
    mtu: Mapped[int] = mapped_column(default=0)
    received: Mapped[int] = mapped_column(Big, default=0)
    sent: Mapped[int] = mapped_column(Big, default=0)
    at: Mapped[float]


class PathHour(Base):
    """An hour of measurements from one site to another: 60 samples in 300 bytes (`core/samples.py`)."""

    __tablename__ = "path_hour"
    site_id: Mapped[str] = mapped_column(ForeignKey("site.id"), primary_key=True)
    peer_id: Mapped[str] = mapped_column(ForeignKey("site.id"), primary_key=True, index=True)
    hour: Mapped[int] = mapped_column(primary_key=True, index=True)
    """Hours since 1970."""
    samples: Mapped[bytes] = mapped_column(LargeBinary)


class Measurement(Base):
    """A link's throughput, measured once by order; figures are the client's, bits per second at the receiver."""

    __tablename__ = "measurement"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    number: Mapped[int] = mapped_column(Big, index=True)
    """The link's; it may be gone."""
    client_id: Mapped[str] = mapped_column(ForeignKey("site_node.id"), index=True)
    server_id: Mapped[str] = mapped_column(ForeignKey("site_node.id"), index=True)
    asked_by: Mapped[str] = mapped_column(String(64), default="")
    """"" for the schedule."""
    state: Mapped[str] = mapped_column(String(10), index=True)
    """waiting (for its sites to be free), running, done, failed."""
    latest: Mapped[bool] = mapped_column(default=False, index=True)
    """The last that was done between these two nodes."""
    seconds: Mapped[int]
    mbit: Mapped[int]
    asked_at: Mapped[float]
    not_after: Mapped[float | None]
    ended_at: Mapped[float | None]
    sent_bps: Mapped[float | None]
    sent_retransmits: Mapped[int | None] = mapped_column(Big)
    received_bps: Mapped[float | None]
    received_retransmits: Mapped[int | None] = mapped_column(Big)
    error: Mapped[str] = mapped_column(String(300), default="")
