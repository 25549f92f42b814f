"""Stand-ins for netd at a registry: keys, join requests, reports, documents opened and checked as a real node checks them."""

from __future__ import annotations

import base64
import hashlib
import random
from dataclasses import dataclass, field
from typing import Any

from garage.services import invitations, overlay_reports, registry, tending
from garage.services.context import Caller, Context
from netd import wire
from netd.core.link_checks import check_asns, check_link_spec, check_table
from netd.core.token import Token, parse_token
from tests.conftest import Clock

RNG = random.Random(11)


def key() -> str:
    return base64.b64encode(RNG.randbytes(32)).decode()


@dataclass
class FakeNode:
    """A member with the documents that it holds."""

    ctx: Context
    site: str
    request: wire.JoinRequest
    answer: wire.JoinAnswer
    keys: dict[int, str] = field(default_factory=dict)
    versions: tuple[int, int] = (0, 0)
    spec: wire.LinkSpec = None  # type: ignore[assignment]
    table: wire.Table = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        self.keys = {1: self.request.key}
        self.take(wire.News(spec=self.answer.spec, table=self.answer.table))

    @property
    def id(self) -> str:
        found = registry.standing(self.ctx, self.answer.credential)
        assert found is not None, f"{self.site} is no member any more"
        return found.node_id

    def take(self, news: wire.News) -> None:
        public = self.ctx.controller_key.public_key()
        ports = range(self.request.port, self.request.port + self.request.ports)
        if news.spec:
            self.spec = wire.open_sealed(news.spec, public, wire.LinkSpec)
            check_link_spec(
                self.spec,
                site=self.site,
                node=self.request.node,
                in_force=self.versions[0],
                ports=ports,
                closed={},
            )
        if news.table:
            self.table = wire.open_sealed(news.table, public, wire.Table)
            check_table(self.table, site=self.site, in_force=self.versions[1], domain=self.table.domain)
        check_asns(self.spec, self.table)
        self.versions = self.spec.version, self.table.version
        for number in range(1, self.spec.want_key + 1):
            self.keys.setdefault(number, key())

    def poll(self) -> wire.News | None:
        """Take what is new."""
        news = registry.news(self.ctx, self.id, *self.versions)
        if news:
            self.take(news)
        return news

    def report(self, state: str = "up", **more: Any) -> None:
        overlay_reports.report(self.ctx, self.id, self.said(state, **more))

    def said(
        self, state: str = "up", *, links: tuple[wire.LinkState, ...] | None = None, **more: Any
    ) -> wire.LinkReport:
        if links is None:
            links = tuple(wire.LinkState(number=link.number, state=state, rtt_ms=5.0) for link in self.spec.links)  # type: ignore[arg-type]
        values: dict[str, Any] = {
            "applied_version": self.versions[0],
            "table_version": self.versions[1],
            "keys": tuple(wire.PublicKey(number=n, key=k) for n, k in self.keys.items() if n <= self.spec.want_key),
            "endpoints": self.request.endpoints,
            "kernel": self.request.kernel,
            "links": links,
        }
        return wire.LinkReport(**values | more)

    def to(self, site: str) -> list[wire.Link]:
        return [link for link in self.spec.links if link.peer_site == site]


def request(ctx: Context, secret: str, number: int, **more: Any) -> wire.JoinRequest:
    """A public site, number 1 to 250, as it would propose itself."""
    values: dict[str, Any] = {
        "token": secret,
        "node": "node1",
        "ipv4": f"10.{number}.0.0/20",
        "ipv6": f"fd00:{number:x}::/48",
        "key": key(),
        "port": 51_820,
        "endpoints": (f"203.0.113.{number}:51820",),
        "time": ctx.clock(),
    }
    return wire.JoinRequest(**values | more)


def invite(ctx: Context, admin: Caller, name: str, *, own_name: str | None = "origin", **more: Any) -> Token:
    """The token, its pins compared with the registry's key."""
    token = parse_token(invitations.invite(ctx, admin, name, own_name=own_name, **more)[1])
    assert token.registry_key == hashlib.sha256(ctx.controller_key.public_key().public_bytes_raw()).digest()
    return token


def member(ctx: Context, admin: Caller, name: str, number: int, **more: Any) -> FakeNode:
    """Invited and joined."""
    wanted = request(ctx, invite(ctx, admin, name).secret, number, **more)
    return FakeNode(ctx, name, wanted, registry.join(ctx, wanted))


def agree(nodes: list[FakeNode]) -> None:
    """The two ends of every link describe the same tunnel."""
    by_name = {(node.site, node.request.node): node for node in nodes}
    for node in nodes:
        for link in node.spec.links:
            peer = by_name[(link.peer_site, link.peer_node)]
            back = next(other for other in peer.spec.links if other.number == link.number)
            assert (link.ipv4, link.ipv6, link.psk) == (back.peer_ipv4, back.peer_ipv6, back.psk)
            assert peer.keys[back.own_key] == link.peer_key
            assert (back.peer_site, back.peer_asn) == (node.site, node.spec.asn)
            assert not link.endpoints or all(text.endswith(f":{back.port}") for text in link.endpoints)


def settle(ctx: Context, clock: Clock, nodes: list[FakeNode], rounds: int = 8) -> None:
    """All nodes poll and report all links up, again and again."""
    for _ in range(rounds):
        clock.forward(6)
        tending.tend(ctx)
        for node in nodes:
            node.poll()
            node.report()
