"""A topology: sites, their lines and the NATs in front of them, as a YAML file says it.

    name: nat                      # lab names keep labs apart; [a-z0-9-], up to 20 characters
    carriers:                      # NATs of providers, shared by the lines that name them
      isp: ds-lite
    sites:
      tsukuba:
        nodes: [tsukuba]           # default: one, named like the site
        lines:                     # default: one plain line named SITE-line
          fibre: {delay: 5ms, jitter: 1ms, loss: 0.1%, rate: 100Mb/s, mtu: 1454}
          lte: {delay: 40ms, nat: {kind: symmetric}, carrier: isp, ipv6: false, block: [udp]}
    overlay: {registry: tsukuba, mesh_sites: 20, bfd_ms: 1000}   # default: the first site keeps the registry

Delay, jitter, loss and rate hold for each direction, so a round trip over one line takes twice its delay. A line with none of
the four is a plain veth pair. Whatever is not of this shape is refused with the field's path and what would help.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

BLOCKS = ("udp", "tcp", "icmp", "inbound")
"""What a line may not pass; `inbound` is whatever the outside begins."""
INTERNET = "internet"


@dataclass(frozen=True, slots=True)
class Impairment:
    """What a line does to each packet, per direction. Seconds; a share from 0 to 1; bits per second, 0 for no limit."""

    delay: float = 0.0
    jitter: float = 0.0
    """Evenly spread in delay ± jitter; packets stay in order."""
    loss: float = 0.0
    rate: float = 0.0


@dataclass(frozen=True, slots=True)
class Nat:
    """How IPv4 is translated, in the terms of RFC 4787.

    Mapping: `cone` keeps the port and shows every destination the same one; `symmetric` draws a port per destination; `map-e` is a
    cone with `ports` alone (RFC 7597); `ds-lite` draws a port once, as a carrier does (RFC 6333), and lets no port be forwarded.
    Filtering, i.e. who may answer from outside: `any` (full cone), `address` (who was spoken to), `port` (only from that port).
    """

    kind: str
    filtering: str = "port"
    ports: tuple[int, int] | None = None
    forward: tuple[tuple[int, str], ...] = ()
    """(outside port, node): TCP and UDP, to the same port of the node."""


@dataclass(frozen=True, slots=True)
class Line:
    """What connects a site with the internet or with its carrier."""

    name: str
    impairment: Impairment = Impairment()
    shaped: bool = False
    """One of delay, jitter, loss and rate was given: more than a plain veth pair."""
    nat: Nat | None = None
    carrier: str | None = None
    ipv4: bool = True
    ipv6: bool = True
    block: tuple[str, ...] = ()
    mtu: int = 1500


@dataclass(frozen=True, slots=True)
class Site:
    name: str
    nodes: tuple[str, ...]
    lines: tuple[Line, ...]

    @property
    def speaks_udp(self) -> bool:
        """Without UDP on any line a site gets no link."""
        return any("udp" not in line.block for line in self.lines)


@dataclass(frozen=True, slots=True)
class Overlay:
    """What is asked of the registry that runs in the lab; None: its own default."""

    registry: str
    """The site at whose first node it runs."""
    mesh_sites: int | None = None
    """Up to so many sites all are linked to all."""
    bfd_ms: int | None = None
    """Interval of BFD; three missed packets end a link."""


@dataclass(frozen=True, slots=True)
class Topology:
    name: str
    sites: tuple[Site, ...]
    overlay: Overlay
    carriers: Mapping[str, Nat] = field(default_factory=dict)
    about: str = ""

    @property
    def lines(self) -> tuple[Line, ...]:
        return tuple(line for site in self.sites for line in site.lines)

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(node for site in self.sites for node in site.nodes)
