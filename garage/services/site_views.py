"""Sites, nodes and links as people see them, made of the registry's rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from garage.core import twins
from garage.core.samples import Sample
from garage.db.overlay_models import Link, LinkEnd, Site, SiteNode
from garage.services import measurements
from garage.services.context import Context
from netd.core import bgp_alarms

SILENT_AFTER = 75.0
"""Seconds: a node reports every 10 s, and the time is written every 30."""


@dataclass(frozen=True, slots=True)
class SiteNodeView:
    name: str
    state: str
    """joining (has not reported yet), up, silent, refusing (holds an older spec than it should, and says why), paused."""
    addresses: list[str]
    outside: list[str]
    """Where its peers see it, if that is somewhere else."""
    ways: list[str]
    """How it is reached in IPv4 and IPv6: open, cone, symmetric, closed."""
    kernel: bool
    """Its links are the kernel's; otherwise processes."""
    links: int
    links_up: int
    spec_version: int
    applied_version: int
    reported_at: float | None
    refusal: dict[str, Any] | None
    alarms: list[str]
    problems: list[str]


@dataclass(frozen=True, slots=True)
class SiteView:
    name: str
    state: str
    """The worst of its nodes' states; "invited" without a node."""
    asn: int
    ipv4: str
    ipv6: str
    proposed_ipv4: str
    proposed_ipv6: str
    renumber: bool
    """It uses prefixes that are another site's, and is not reached until it has taken those given here."""
    own: bool
    hub: bool
    relay: bool
    """It may be made a hub."""
    latitude: float | None
    """Degrees; both or neither."""
    longitude: float | None
    created_at: float
    alarms: list[str]
    """What its nodes say of others."""
    accusations: list[str]
    """What others' nodes say of it: "SITE: what it announces that is not its own"."""
    nodes: list[SiteNodeView] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class LinkView:
    """A link for the map; what is measured is the better-known end's word. Times in ms, loss from 0 to 1."""

    number: int
    a_site: str
    a_node: str
    b_site: str
    b_node: str
    reason: str
    state: str
    """up, down, waiting, draining."""
    since: float | None
    rtt_ms: float | None
    jitter_ms: float | None
    loss: float | None
    preference: int | None
    mtu: int
    a_to_b_bps: float | None = None
    """Throughput as last measured (`services/throughput.py`), bits per second."""
    b_to_a_bps: float | None = None
    measured_at: float | None = None


@dataclass(frozen=True, slots=True)
class History:
    """One way between two sites, minute by minute from `start` (UTC seconds since 1970)."""

    site: str
    peer: str
    start: float
    samples: list[Sample]


COPIED = "two servers report as {node}: its files were copied"
WORST = ("copied", "refusing", "silent", "paused", "joining", "up")


def site_views(session: Session, ctx: Context, sites: Sequence[Site]) -> list[SiteView]:
    """One per site, in the same order."""
    query = select(SiteNode).order_by(SiteNode.name)
    if len(sites) == 1:
        query = query.where(SiteNode.site_id == sites[0].id)
    nodes: dict[str, list[SiteNode]] = defaultdict(list)
    for node in session.scalars(query):
        nodes[node.site_id].append(node)
    accusations = accused_of(session)
    all_links = _count(session, [node.id for found in nodes.values() for node in found])
    return [_view(ctx.clock(), site, nodes[site.id], all_links, accusations.get(site.name, [])) for site in sites]


def accused_of(session: Session) -> dict[str, list[str]]:
    """By the name of whom it is said, and it may be no site's: each accuser once with its first words."""
    query = select(Site.name, SiteNode.alarms).join(Site, Site.id == SiteNode.site_id).order_by(Site.name)
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for by, alarms in session.execute(query):
        for text in alarms:
            for name in bgp_alarms.accused([text]) - {by}:
                found[name].setdefault(by, f"{by}: {text}")
    return {name: list(said.values()) for name, said in found.items()}


def _count(session: Session, nodes: Iterable[str]) -> dict[str, tuple[int, int]]:
    """(links, links that are up) by node, as the node itself says."""
    wanted = set(nodes)
    query = select(Link.a_id, Link.b_id)
    if len(wanted) < 10:
        query = query.where(Link.a_id.in_(wanted) | Link.b_id.in_(wanted))
    total: dict[str, int] = defaultdict(int)
    for row in session.execute(query):
        for end in row:
            total[end] += 1
    up: dict[str, int] = defaultdict(int)
    for node in session.scalars(select(LinkEnd.node_id).where(LinkEnd.state == "up")):
        up[node] += 1
    return {node: (total[node], up[node]) for node in wanted}


def _view(
    now: float, site: Site, nodes: Sequence[SiteNode], counted: dict[str, tuple[int, int]], accusations: list[str]
) -> SiteView:
    views = [_node_view(now, node, *counted[node.id]) for node in nodes]
    same = ("name", "asn", "ipv4", "ipv6", "proposed_ipv4", "proposed_ipv6", "own", "hub", "relay")
    where = ("latitude", "longitude", "created_at")
    return SiteView(
        **{name: getattr(site, name) for name in (*same, *where)},
        state=min((view.state for view in views), key=WORST.index, default="invited"),
        renumber=(site.ipv4, site.ipv6) != (site.proposed_ipv4, site.proposed_ipv6),
        alarms=[text for view in views for text in view.alarms],
        accusations=accusations,
        nodes=views,
    )


def _node_view(now: float, node: SiteNode, total: int, up: int) -> SiteNodeView:
    same = ("name", "kernel", "spec_version", "applied_version", "reported_at", "refusal")
    return SiteNodeView(
        **{name: getattr(node, name) for name in same},
        state=_state(now, node),
        addresses=list(node.addresses),
        outside=[text for text in (node.outside4, node.outside6) if text and text not in node.addresses],
        ways=[node.way4, node.way6],
        links=total,
        links_up=up,
        alarms=[*node.alarms, *([COPIED.format(node=node.name)] if _copied(now, node) else ())],
        problems=list(node.problems),
    )


def _copied(now: float, node: SiteNode) -> bool:
    return twins.unpacked(node.starts).twins(now)


def _state(now: float, node: SiteNode) -> str:
    if _copied(now, node):
        return "copied"
    if node.reported_at is None:
        return "joining"
    if now - node.reported_at > SILENT_AFTER:
        return "silent"
    if node.refusal:
        return "refusing"
    return "paused" if node.paused else "up"


def link_views(session: Session, rows: Sequence[Link]) -> list[LinkView]:
    """One per link, in the same order."""
    named = select(SiteNode.id, Site.name, SiteNode.name).join(Site, Site.id == SiteNode.site_id)
    names = {row[0]: (row[1], row[2]) for row in session.execute(named)}
    ends: dict[int, list[LinkEnd]] = defaultdict(list)
    query = select(LinkEnd).order_by(LinkEnd.number, LinkEnd.node_id)
    if len(rows) < 500:
        query = query.where(LinkEnd.number.in_([row.number for row in rows]))
    for end in session.scalars(query):
        ends[end.number].append(end)
    measured = measurements.latest(session)
    return [_link_view(row, names, ends[row.number], measured.get((row.a_id, row.b_id))) for row in rows]


def _link_view(
    link: Link, names: dict[str, tuple[str, str]], ends: list[LinkEnd], measured: measurements.Latest | None
) -> LinkView:
    latest = max(ends, key=lambda end: (end.since, end.state != "up"), default=None)
    said = max(ends, key=lambda end: (end.rtt_ms is not None, end.at), default=None)
    state = latest.state if latest else "waiting"
    return LinkView(
        number=link.number,
        a_site=names[link.a_id][0],
        a_node=names[link.a_id][1],
        b_site=names[link.b_id][0],
        b_node=names[link.b_id][1],
        reason=link.reason,
        state="draining" if link.state == "draining" and state == "up" else state,
        since=latest.since if latest else None,
        rtt_ms=said.rtt_ms if said else None,
        jitter_ms=said.jitter_ms if said else None,
        loss=said.loss if said else None,
        preference=said.preference if said else None,
        mtu=said.mtu if said else 0,
        a_to_b_bps=measured.forth if measured else None,
        b_to_a_bps=measured.back if measured else None,
        measured_at=measured.at if measured else None,
    )
