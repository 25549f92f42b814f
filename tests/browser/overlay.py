"""An overlay with lifelike figures for a browser: sites in Japanese towns, their nodes played by `FakeNode`, a day of measurements."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from garage.core import samples
from garage.core.samples import Sample
from garage.db.overlay_models import PathHour
from garage.db.overlay_models import Site as SiteRow
from garage.services import invitations, registry, throughput
from garage.services.context import Caller, Context
from netd import wire
from netd.core.token import parse_token
from tests.inproc.overlay_nodes import FakeNode, invite, request

TOWNS = {
    "tsukuba": (36.08, 140.11),
    "nagoya": (35.18, 136.91),
    "osaka": (34.69, 135.50),
    "sapporo": (43.06, 141.35),
    "fukuoka": (33.59, 130.40),
    "sendai": (38.27, 140.87),
    "hiroshima": (34.39, 132.46),
    "naha": (26.21, 127.68),
    "kyoto": (35.01, 135.77),
    "niigata": (37.90, 139.02),
}
"""Degrees north and east."""
LIGHT = 200.0
"""km per ms in glass; lines take about 1.6 times the straight way, and each way has 1.2 ms of access."""


def rtt(one: tuple[float, float], other: tuple[float, float]) -> float:
    """ms, from the distance on the sphere."""
    (a, b), (c, d) = (tuple(map(math.radians, place)) for place in (one, other))
    arc = math.acos(min(1.0, math.sin(a) * math.sin(c) + math.cos(a) * math.cos(c) * math.cos(b - d)))
    return round(2 * (6371 * arc * 1.6 / LIGHT + 1.2), 1)


@dataclass
class Overlay:
    ctx: Context
    admin: Caller
    own: str = "tsukuba"
    nodes: dict[str, FakeNode] = field(default_factory=dict)
    loss: dict[frozenset[str], float] = field(default_factory=dict)
    state: dict[frozenset[str], str] = field(default_factory=dict)
    said: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What a site says beyond its links."""
    rng: random.Random = field(default_factory=lambda: random.Random(5))

    def found(self) -> None:
        """The registry's own site is the first member, by the first invitation."""
        first, _ = invitations.invite(self.ctx, self.admin, "first", own_name=self.own)
        invitations.withdraw(self.ctx, self.admin, first.id)
        token = registry.own_invitation(self.ctx)
        assert token is not None
        self.take(
            self.own, 31, parse_token(token).secret, ipv4=self.ctx.config.site_ipv4, ipv6=self.ctx.config.site_ipv6
        )

    def join(self, name: str, number: int) -> FakeNode:
        return self.take(name, number, invite(self.ctx, self.admin, name, own_name=None).secret)

    def take(self, name: str, number: int, secret: str, **more: Any) -> FakeNode:
        wanted = request(self.ctx, secret, number, **more)
        self.nodes[name] = FakeNode(self.ctx, name, wanted, registry.join(self.ctx, wanted))
        return self.nodes[name]

    def rtt(self, one: str, other: str) -> float:
        return rtt(*(TOWNS.get(name) or self._town(name) for name in (one, other)))

    def _town(self, name: str) -> tuple[float, float]:
        own = random.Random(name)
        return own.uniform(31, 44), own.uniform(130, 142)

    def report(self, names: Sequence[str] = ()) -> None:
        """Every node takes what is new and says how its links are."""
        for name in names or self.nodes:
            node = self.nodes[name]
            node.poll()
            node.report(links=tuple(self._link(name, link) for link in node.spec.links), **self.said.get(name, {}))

    def _link(self, name: str, link: wire.Link) -> wire.LinkState:
        pair = frozenset((name, link.peer_site))
        state = self.state.get(pair, "up")
        measured: Mapping[str, float] = {
            "rtt_ms": self.rtt(name, link.peer_site), "jitter_ms": 0.4, "loss": self.loss.get(pair, 0.0)
        }  # fmt: skip
        seen = measured if state == "up" else {}
        return wire.LinkState(number=link.number, state=state, preference=3, mtu=1420, **seen)  # type: ignore[arg-type]

    def remember(self, hours: int = 24) -> None:
        """A day of measurements: a calm line, busier in the evening; what loses packets loses them in bursts."""
        last = int(self.ctx.clock() // 3600)
        with self.ctx.db.write() as session:
            ids = {row.name: row.id for row in session.scalars(select(SiteRow))}
            for name, node in self.nodes.items():
                for peer in {link.peer_site for link in node.spec.links}:
                    for hour in range(last - hours, last + 1):
                        packed = self._hour(name, peer, hour, hour == last)
                        session.merge(PathHour(site_id=ids[name], peer_id=ids[peer], hour=hour, samples=packed))

    def _hour(self, name: str, peer: str, hour: int, present: bool) -> bytes:
        base, busy = self.rtt(name, peer), 1.0 + 0.25 * max(0.0, math.sin((hour - 4) / 24 * 2 * math.pi))
        lost, packed = self.loss.get(frozenset((name, peer)), 0.0), samples.EMPTY
        for minute in range(int(self.ctx.clock() % 3600 // 60) + 1 if present else 60):
            spike = self.rng.random() ** 12 * base
            loss = min(1.0, self.rng.expovariate(1 / lost)) if lost else 0.02 * (self.rng.random() > 0.995)
            packed = samples.put(packed, minute, Sample(base * busy + spike + self.rng.random() * 0.5, 0.4, loss))
        return packed

    def measure(self, one: str, other: str, forth: float, back: float) -> None:
        """Throughput between two sites, as both nodes would do it; bits per second."""
        order = throughput.measure(self.ctx, self.admin, one, other)
        self.outcome(one, wire.Outcome(id=order.id, sent_bps=forth, sent_retransmits=12, received_bps=back))

    def outcome(self, one: str, outcome: wire.Outcome) -> None:
        self.said[one] = {**self.said.get(one, {}), "outcome": outcome}
        self.report([one])
