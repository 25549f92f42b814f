"""Sites as people see them: lists, the map, histories; removing one, changing keys."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from garage.core import samples
from garage.core.samples import Sample
from garage.db.models import Setting
from garage.db.overlay_models import Link, LinkEnd, PathHour, Site, SiteNode
from garage.errors import N_, GarageError
from garage.services import measurements, registry
from garage.services.context import Caller, Context, audit
from garage.services.overlay_links import of_nodes
from garage.services.overlay_state import BFD_MS, LIMITS, lock, mark_dirty, raise_versions
from garage.services.rights import require_admin
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
    created_at: float
    alarms: list[str]
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


WORST = ("refusing", "silent", "paused", "joining", "up")


def listing(ctx: Context, caller: Caller) -> list[SiteView]:
    """All sites by name, with their nodes."""
    require_admin(caller)
    with ctx.db.read() as session:
        return _views(session, ctx, list(session.scalars(select(Site).order_by(Site.name))))


def get(ctx: Context, caller: Caller, name: str) -> SiteView:
    require_admin(caller)
    with ctx.db.read() as session:
        return _views(session, ctx, [_site(session, name)])[0]


def links(ctx: Context, caller: Caller, name: str | None = None) -> list[LinkView]:
    """All links, or those of a site."""
    require_admin(caller)
    with ctx.db.read() as session:
        if name is None:
            rows = list(session.scalars(select(Link).order_by(Link.number)))
        else:
            site = _site(session, name)
            rows = of_nodes(session, session.scalars(select(SiteNode.id).where(SiteNode.site_id == site.id)))
        return _link_views(session, rows)


def history(ctx: Context, caller: Caller, name: str, peer: str, hours: int = 24) -> History:
    """What `name` measured to `peer` in the last `hours` (at most 24), the present one included."""
    require_admin(caller)
    last = int(ctx.clock() // 3600)
    first = last - max(1, min(hours, 24)) + 1
    with ctx.db.read() as session:
        pair = PathHour.site_id == _site(session, name).id, PathHour.peer_id == _site(session, peer).id
        rows = {row.hour: row.samples for row in session.scalars(select(PathHour).where(*pair, PathHour.hour >= first))}
    found = [sample for hour in range(first, last + 1) for sample in samples.read(rows.get(hour, samples.EMPTY))]
    return History(name, peer, first * 3600.0, found)


def remove(ctx: Context, caller: Caller, name: str) -> None:
    """The site's credential is void and all its peers drop it with their next spec, within a second."""
    require_admin(caller)
    with ctx.db.write() as session:
        lock(session)
        site = _site(session, name)
        if site.own:
            raise GarageError("in_use", N_("{name} is the registry's own site"), name=site.name)
        nodes = list(session.scalars(select(SiteNode).where(SiteNode.site_id == site.id)))
        audit(session, ctx, caller.name, "site.remove", site.name, asn=site.asn, ipv4=site.ipv4, ipv6=site.ipv6)
        registry.drop(session, ctx, site, nodes, whole=True)


def rotate(ctx: Context, caller: Caller, name: str) -> SiteView:
    """Ask the site's nodes for new keys; links change to them one beside the other, without a lost packet."""
    require_admin(caller)
    with ctx.db.write() as session:
        lock(session)
        site = _site(session, name)
        nodes = list(session.scalars(select(SiteNode).where(SiteNode.site_id == site.id)))
        for node in nodes:
            node.want_key += 1
        session.flush()
        raise_versions(session, ctx, [node.id for node in nodes])
        audit(session, ctx, caller.name, "site.rotate", site.name)
        return _views(session, ctx, [site])[0]


def configure(ctx: Context, caller: Caller, **given: int | None) -> None:
    """The network's figures, by their names without "overlay_"; None leaves one as it is. BFD's interval (ms; three missed packets end a
    link), up to how many sites all are linked, and how throughput is measured: every so many days (0: on demand alone), at most so many
    Mb/s, for so many seconds."""
    require_admin(caller)
    figures = {f"overlay_{name}": value for name, value in given.items() if value is not None}
    with ctx.db.write() as session:
        lock(session)
        for key, value in figures.items():
            least, most = LIMITS[key]
            if not least <= value <= most:
                raise GarageError("invalid_field", N_("a number from {least} to {most}"), least=least, most=most)
            session.merge(Setting(key=key, value=str(value)))
        if BFD_MS in figures:
            raise_versions(session, ctx, list(session.scalars(select(SiteNode.id))))
        mark_dirty(session)
        audit(session, ctx, caller.name, "site.configure", "overlay", **dict[str, Any](given))


def counts(ctx: Context) -> dict[str, int]:
    """For metrics: sites, links, links_up, alarms (nodes that see somebody announce what is not theirs), renumbering."""
    caller = Caller("", "garage", admin=True)
    found, tunnels = listing(ctx, caller), links(ctx, caller)
    return {
        "sites": len(found),
        "links": len(tunnels),
        "links_up": sum(link.state in ("up", "draining") for link in tunnels),
        "alarms": sum(bool(node.alarms) for site in found for node in site.nodes),
        "renumbering": sum(site.renumber for site in found),
    }


def accused(ctx: Context) -> dict[str, int]:
    """For metrics: of every site, how many others say that it announces what is not its own. Names that are no site's are passed over."""
    found = listing(ctx, Caller("", "garage", admin=True))
    said = {site.name: bgp_alarms.accused(site.alarms) - {site.name} for site in found}
    return {site.name: sum(site.name in names for names in said.values()) for site in found}


def _site(session: Session, name: str) -> Site:
    if site := session.scalars(select(Site).where(Site.name == name)).first():
        return site
    raise GarageError(
        "not_found", N_("there is no site {name}"), hint=N_("“garage site list” shows them"), name=name[:64]
    )


def _views(session: Session, ctx: Context, sites: Sequence[Site]) -> list[SiteView]:
    query = select(SiteNode).order_by(SiteNode.name)
    if len(sites) == 1:
        query = query.where(SiteNode.site_id == sites[0].id)
    nodes: dict[str, list[SiteNode]] = defaultdict(list)
    for node in session.scalars(query):
        nodes[node.site_id].append(node)
    all_links = _count(session, [node.id for found in nodes.values() for node in found])
    return [_view(ctx.clock(), site, nodes[site.id], all_links) for site in sites]


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


def _view(now: float, site: Site, nodes: Sequence[SiteNode], counted: dict[str, tuple[int, int]]) -> SiteView:
    views = [_node_view(now, node, *counted[node.id]) for node in nodes]
    same = ("name", "asn", "ipv4", "ipv6", "proposed_ipv4", "proposed_ipv6", "own", "hub", "created_at")
    return SiteView(
        **{name: getattr(site, name) for name in same},
        state=min((view.state for view in views), key=WORST.index, default="invited"),
        renumber=(site.ipv4, site.ipv6) != (site.proposed_ipv4, site.proposed_ipv6),
        alarms=[text for view in views for text in view.alarms],
        nodes=views,
    )


def _node_view(now: float, node: SiteNode, total: int, up: int) -> SiteNodeView:
    same = ("name", "spec_version", "applied_version", "reported_at", "refusal")
    return SiteNodeView(
        **{name: getattr(node, name) for name in same},
        state=_state(now, node),
        addresses=list(node.addresses),
        outside=[text for text in (node.outside4, node.outside6) if text and text not in node.addresses],
        ways=[node.way4, node.way6],
        links=total,
        links_up=up,
        alarms=list(node.alarms),
        problems=list(node.problems),
    )


def _state(now: float, node: SiteNode) -> str:
    if node.reported_at is None:
        return "joining"
    if now - node.reported_at > SILENT_AFTER:
        return "silent"
    if node.refusal:
        return "refusing"
    return "paused" if node.paused else "up"


def _link_views(session: Session, rows: Sequence[Link]) -> list[LinkView]:
    named = select(SiteNode.id, Site.name, SiteNode.name).join(Site, Site.id == SiteNode.site_id)
    names = {row[0]: (row[1], row[2]) for row in session.execute(named)}
    ends: dict[int, list[LinkEnd]] = defaultdict(list)
    query = select(LinkEnd)
    if len(rows) < 500:
        query = query.where(LinkEnd.number.in_([row.number for row in rows]))
    for end in session.scalars(query):
        ends[end.number].append(end)
    measured = measurements.latest(session)
    return [_link_view(row, names, ends[row.number], measured.get((row.a_id, row.b_id))) for row in rows]


def _link_view(
    link: Link, names: dict[str, tuple[str, str]], ends: list[LinkEnd], measured: measurements.Latest | None
) -> LinkView:
    latest = max(ends, key=lambda end: end.since, default=None)
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
