"""Which nodes are linked: `core.topology` asked with what is known, its step done."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from garage.core import topology
from garage.core.topology import End, Wire, wire
from garage.db.overlay_models import Link, LinkEnd, Site, SiteNode
from garage.services.context import Context
from garage.services.overlay_links import Changes, Maker, limit, remove
from garage.services.overlay_state import MESH_SITES, setting

RANKED: tuple[topology.Way, ...] = ("open", "cone", "symmetric", "closed")


class _Map:
    """Sites, nodes and links as rows, and by the names that the topology knows."""

    def __init__(self, session: Session) -> None:
        self.sites = {site.id: site for site in session.scalars(select(Site))}
        self.nodes = {node.id: node for node in session.scalars(select(SiteNode))}
        self.ends = {node.id: End(self.sites[node.site_id].name, node.name) for node in self.nodes.values()}
        self.rows = {end: self.nodes[node_id] for node_id, end in self.ends.items()}
        self.links: dict[tuple[End, End], list[Link]] = defaultdict(list)
        for link in session.scalars(select(Link).order_by(Link.number)):
            self.links[self.pair(link)].append(link)
        self.up, self.rtt = _measured(session)

    def pair(self, link: Link) -> tuple[End, End]:
        one, other = sorted((self.ends[link.a_id], self.ends[link.b_id]))
        return one, other

    def topology_sites(self) -> list[topology.Site]:
        """Sites without a node are none yet."""
        nodes: dict[str, list[SiteNode]] = defaultdict(list)
        for node in self.nodes.values():
            nodes[node.site_id].append(node)
        return [_site(self.sites[site_id], found) for site_id, found in nodes.items()]

    def wires(self) -> list[Wire]:
        """One per pair of nodes, up if one of its tunnels is."""
        return [
            wire(*ends, links[0].reason, up=any(link.number in self.up for link in links))  # type: ignore[arg-type]
            for ends, links in self.links.items()
        ]

    def times(self) -> dict[tuple[str, str], float]:
        found: dict[tuple[str, str], float] = {}
        for ends, links in self.links.items():
            times = [self.rtt[link.number] for link in links if link.number in self.rtt]
            if times and ends[0].site != ends[1].site:
                found[(ends[0].site, ends[1].site)] = min(times)
        return found


def _site(site: Site, nodes: Iterable[SiteNode]) -> topology.Site:
    """As well reachable as its best node."""
    found = list(nodes)
    ways4, ways6 = {node.way4 for node in found}, {node.way6 for node in found}
    return topology.Site(
        site.name,
        tuple(topology.Node(node.name, _limit(node)) for node in sorted(found, key=lambda n: n.name)),
        ipv4=next(way for way in RANKED if way in ways4),
        ipv6=next(way for way in RANKED if way in ways6),
        willing=site.relay,
        hub=site.hub,
    )


def _limit(node: SiteNode) -> int:
    return limit(node, topology.LIMIT_KERNEL if node.kernel else topology.LIMIT)


def _measured(session: Session) -> tuple[set[int], dict[int, float]]:
    """(numbers of links that are up, RTT in ms by number): the end that changed its mind last is believed."""
    latest: dict[int, tuple[float, str]] = {}
    rtt: dict[int, float] = {}
    for number, state, since, time in session.execute(
        select(LinkEnd.number, LinkEnd.state, LinkEnd.since, LinkEnd.rtt_ms)
    ):
        latest[number] = max(latest.get(number, (0.0, "")), (since, state))
        if time is not None:
            rtt[number] = min(time, rtt.get(number, time))
    return {number for number, (_, state) in latest.items() if state == "up"}, rtt


def _plan(session: Session) -> tuple[_Map, topology.Plan]:
    known = _Map(session)
    rules = topology.Rules(mesh_sites=setting(session, MESH_SITES))
    return known, topology.plan(known.topology_sites(), known.wires(), known.times(), rules)


def idle(session: Session) -> bool:
    """Whether `rewire` would change nothing; a thousand sites take a second of planning, in which nobody should hold the lock."""
    known, step = _plan(session)
    return not (step.add or step.remove) and {site.name for site in known.sites.values() if site.hub} == step.hubs


def rewire(session: Session, ctx: Context, changes: Changes) -> bool:
    """Do the topology's next step; False when nothing is left to do, now or later. What comes later waits for a link to come up."""
    known, step = _plan(session)
    for gone in step.remove:
        remove(session, known.links[gone.ends], changes)
    _add(session, ctx, known.rows, step.add, changes)
    reasons = {link.ends: link.reason for link in step.links}
    for ends, links in known.links.items():
        for link in links:
            if ends in reasons and link.reason != reasons[ends]:
                link.reason = reasons[ends]
    for site in known.sites.values():
        if site.hub != (site.name in step.hubs):
            site.hub = site.name in step.hubs
    return not step.settled


def _add(session: Session, ctx: Context, rows: Mapping[End, SiteNode], wires: Iterable[Wire], changes: Changes) -> None:
    """What finds no port is asked for again by the next step."""
    maker = Maker(session, ctx, changes)
    for new in wires:
        maker.make(rows[new.a], rows[new.b], new.reason)
