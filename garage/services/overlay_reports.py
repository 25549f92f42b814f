"""What a node says of itself and of its links: kept compactly, believed about itself alone.

A report that says nothing new costs a comparison: what changed is written at once, the rest twice a minute (that the node is there)
or once (measurements).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from garage.core import endpoints, samples, twins
from garage.core.endpoints import Sighting
from garage.db.overlay_models import Link, LinkEnd, NodeKey, PathHour, Site, SiteNode
from garage.errors import N_, GarageError
from garage.services import measurements
from garage.services.context import Context
from garage.services.overlay_links import Changes, of_nodes, refresh_endpoints
from garage.services.overlay_state import lock, mark_dirty, raise_versions
from garage.services.registry import Standing, publish
from netd import wire

TOUCH_SECONDS = 30.0
MEASURE_SECONDS = 60.0
MOST_REMEMBERED = 10_000
COPIED = N_("its files were copied: netd leave here, then join with an invitation of its own")
EPOCHS = 60_000
"""Milliseconds: versions follow the clock, so one that a node holds although we do not know it is from before our backup, or a lie."""


class Recently:
    """What each node said last, so that saying it again reaches no database. Of one process; empty is always right."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[int, float, tuple[object, ...]]] = {}

    def again(self, standing: Standing, now: float, said: wire.LinkReport) -> bool:
        """Whether it was said for the same spec within `TOUCH_SECONDS`."""
        spec, at, before = self._said.get(standing.node_id, (0, 0.0, ()))
        return spec == standing.spec and 0 <= now - at < TOUCH_SECONDS and before == _gist(said)

    def remember(self, standing: Standing, now: float, said: wire.LinkReport) -> None:
        """After it was taken; the time is that of the first."""
        if len(self._said) > MOST_REMEMBERED:
            self._said.clear()
        self._said[standing.node_id] = standing.spec, now, _gist(said)


def _gist(said: wire.LinkReport) -> tuple[object, ...]:
    """All but measurements."""
    links = tuple((link.number, link.state, link.seen_at, link.preference) for link in said.links)
    about = (
        said.start,
        said.applied_version,
        said.table_version,
        said.refusal,
        said.keys,
        said.endpoints,
        said.paused,
        said.outcome,
    )
    return (*about, said.kernel, said.ipv4, said.ipv6, said.alarms, said.problems, links)


@dataclass(frozen=True, slots=True)
class _Known:
    """The node and its links as the database has them."""

    node: SiteNode
    site: Site
    links: Mapping[int, Link]
    ends: Mapping[int, LinkEnd]


def report(ctx: Context, node_id: str, said: wire.LinkReport) -> None:
    """Raises `malformed_request` (a link twice), `forbidden` (somebody else's link), `key_in_use` (also for a copy of a node's files),
    `invalid_field`; nothing is kept of a refused report but that it came. Links that are gone are passed over: their end may not know
    yet."""
    with ctx.db.read() as session:
        known = _known(session, node_id)
        if known is None or not _worth_writing(ctx.clock(), known, session, said):
            return
    with ctx.db.write() as session:
        lock(session)
        if (known := _known(session, node_id)) is None:
            return
        if _hear(session, ctx, known, said):
            _record(session, ctx, known, said)
        copied = twins.unpacked(known.node.starts).twins(ctx.clock())
        believed = _believed(known.node, said, ctx.clock())
        names = {"node": known.node.name, "site": known.site.name}
    if copied and not believed:
        raise GarageError(
            "key_in_use",
            N_("another server, heard of before this one, reports as {node} of {site}"),
            hint=COPIED,
            **names,
        )


def _hear(session: Session, ctx: Context, known: _Known, said: wire.LinkReport) -> bool:
    """Note which start of netd speaks; whether what it says counts."""
    node, now = known.node, ctx.clock()
    if not said.start:
        return True
    before = twins.unpacked(node.starts)
    heard = before.hear(said.start, said.place, now)
    node.starts = heard.packed()
    if heard.twins(now) != before.twins(now):
        publish(session, ctx, known.site.name)
    return heard.believed(said.start, now)


def _believed(node: SiteNode, said: wire.LinkReport, now: float) -> bool:
    return not said.start or twins.unpacked(node.starts).believed(said.start, now)


def _known(session: Session, node_id: str) -> _Known | None:
    node = session.get(SiteNode, node_id)
    if node is None:
        return None
    links = {link.number: link for link in of_nodes(session, [node_id])}
    ends = {end.number: end for end in session.scalars(select(LinkEnd).where(LinkEnd.node_id == node_id))}
    return _Known(node, session.get_one(Site, node.site_id), links, ends)


def _worth_writing(now: float, known: _Known, session: Session, said: wire.LinkReport) -> bool:
    _check(session, known, said)
    node = known.node
    if said.start and twins.unpacked(node.starts).latest != said.start:
        return True
    if node.reported_at is None or now - node.reported_at >= TOUCH_SECONDS or now < node.reported_at:
        return True
    if any(getattr(node, name) != value for name, value in _about_itself(node, said).items()):
        return True
    if measurements.ends(session, node.id, said.outcome) or _in_use(known.site, said) != _used(known.site):
        return True
    return any(
        _changed(known.ends.get(state.number), state) for state in said.links if state.number in known.links
    ) or bool(_new_keys(session, node, said))


def _check(session: Session, known: _Known, said: wire.LinkReport) -> None:
    numbers = [state.number for state in said.links]
    if len(set(numbers)) != len(numbers):
        raise GarageError("malformed_request", N_("a link is there twice"))
    foreign = [number for number in numbers if number not in known.links]
    if foreign and session.scalar(select(Link.number).where(Link.number.in_(foreign)).limit(1)) is not None:
        raise GarageError("forbidden", N_("{node} reports about its own links alone"), node=known.node.name)


def _about_itself(node: SiteNode, said: wire.LinkReport) -> dict[str, Any]:
    """Columns of the node that a report sets."""
    refusal = said.refusal
    return {
        "applied_version": min(said.applied_version, node.spec_version),
        "table_version": min(said.table_version, 1 << 62),
        "refusal": {"version": min(refusal.version, 1 << 62), "code": refusal.code, "text": refusal.text}
        if refusal
        else None,
        "paused": said.paused,
        "kernel": said.kernel,
        "alarms": list(said.alarms),
        "problems": list(said.problems),
        "addresses": endpoints.addresses(said.endpoints),
    }


def _used(site: Site) -> tuple[str, str]:
    return site.proposed_ipv4, site.proposed_ipv6


def _in_use(site: Site, said: wire.LinkReport) -> tuple[str, str]:
    """The prefixes that the site has its machines in, as last heard."""
    return said.ipv4 or site.proposed_ipv4, said.ipv6 or site.proposed_ipv6


def _changed(end: LinkEnd | None, state: wire.LinkState) -> bool:
    """Worth a write at once."""
    if end is None:
        return True
    return (end.state, end.seen_at, end.preference) != (state.state, _seen_at(end, state), state.preference)


def _seen_at(end: LinkEnd, state: wire.LinkState) -> str:
    """Where the peer is or was last seen: a link that is down says nothing new of its NAT."""
    return state.seen_at or end.seen_at


def _new_keys(session: Session, node: SiteNode, said: wire.LinkReport) -> list[wire.PublicKey]:
    """Key pairs that we asked for and did not know. Raises `invalid_field` for others, `key_in_use` for somebody else's."""
    have = {key.number: key.key for key in session.scalars(select(NodeKey).where(NodeKey.node_id == node.id))}
    found = []
    for key in said.keys:
        if have.get(key.number, key.key) != key.key or key.number > node.want_key:
            raise GarageError("invalid_field", N_("nobody asked for key {number}"), pointer="/keys", number=key.number)
        if key.number in have or key.number < min(have, default=1):
            continue
        if session.scalar(select(NodeKey.node_id).where(NodeKey.key == key.key)) is not None:
            raise GarageError("key_in_use", N_("another node has this public key already"), pointer="/keys")
        found.append(key)
    return found


def _record(session: Session, ctx: Context, known: _Known, said: wire.LinkReport) -> None:
    node, changes, now = known.node, Changes(), ctx.clock()
    _check(session, known, said)
    keys = _new_keys(session, node, said)
    session.add_all(NodeKey(node_id=node.id, number=key.number, key=key.key) for key in keys)
    about = _about_itself(node, said)
    moved, carries = about["addresses"] != node.addresses, about["kernel"] != node.kernel
    told = (node.alarms, node.paused, *_used(known.site))
    known.site.proposed_ipv4, known.site.proposed_ipv6 = _in_use(known.site, said)
    for name, value in about.items():
        setattr(node, name, value)
    node.reported_at = now
    turned, seen = _record_links(session, known, said.links, now)
    session.flush()
    looked = [
        _look_at(session, peer, changes, now) for peer in _peers(session, known, seen) | ({node} if moved else set())
    ]
    if _is_behind(ctx, node, said):
        changes.nodes.add(node.id)
    if keys or turned or carries or any(looked):
        mark_dirty(session)
    measured = measurements.take(session, ctx, node.id, said.outcome, changes)
    raise_versions(session, ctx, changes.nodes)
    if turned or measured or told != (node.alarms, node.paused, *_used(known.site)):
        publish(session, ctx, known.site.name)


def _is_behind(ctx: Context, node: SiteNode, said: wire.LinkReport) -> bool:
    """Whether *we* are: the node holds a later spec than we know, as after a restore. It then gets one that is later still."""
    return node.spec_version < said.applied_version < int(ctx.clock() * 1000) + EPOCHS


def _record_links(
    session: Session, known: _Known, states: Iterable[wire.LinkState], now: float
) -> tuple[bool, list[Link]]:
    """(whether a link came or went, links whose peer was seen elsewhere than before)."""
    turned, seen = False, []
    history = _History(session, known, now)
    for state in states:
        link, end = known.links.get(state.number), known.ends.get(state.number)
        if link is None or not (_changed(end, state) or end is None or not 0 <= now - end.at < MEASURE_SECONDS):
            continue
        if end is None:
            end = LinkEnd(number=link.number, node_id=known.node.id, state="", since=now, seen_at="", at=now)
            session.add(end)
        if end.state != state.state:
            turned, end.since = True, now
        if _seen_at(end, state) != end.seen_at:
            seen.append(link)
        _measure(end, state, now)
        if state.state == "up":
            history.put(link, state)
    return turned, seen


def _measure(end: LinkEnd, state: wire.LinkState, now: float) -> None:
    end.state, end.seen_at, end.preference, end.at = state.state, _seen_at(end, state), state.preference, now
    end.rtt_ms, end.jitter_ms, end.loss, end.mtu = state.rtt_ms, state.jitter_ms, state.loss, state.mtu
    end.received, end.sent = min(state.received, 1 << 62), min(state.sent, 1 << 62)


class _History:
    """Samples, one a minute, of the ways from a node's site to others; all of a report with two queries."""

    def __init__(self, session: Session, known: _Known, now: float) -> None:
        self._session, self._site, self._node = session, known.site.id, known.node.id
        self._hour, self._minute = int(now // 3600), int(now % 3600 // 60)
        self._sites = {peer.id: peer.site_id for peer in _peers(session, known, known.links.values())}
        query = select(PathHour).where(PathHour.site_id == self._site, PathHour.hour == self._hour)
        self._rows = {row.peer_id: row for row in session.scalars(query)}

    def put(self, link: Link, state: wire.LinkState) -> None:
        site = self._sites[link.b_id if link.a_id == self._node else link.a_id]
        if state.rtt_ms is None or site == self._site:
            return
        if site not in self._rows:
            row = PathHour(site_id=self._site, peer_id=site, hour=self._hour, samples=samples.EMPTY)
            self._session.add(row)
            self._rows[site] = row
        row, sample = self._rows[site], samples.Sample(state.rtt_ms, state.jitter_ms, state.loss)
        row.samples = samples.put(row.samples, self._minute, sample)


def _peers(session: Session, known: _Known, links: Iterable[Link]) -> set[SiteNode]:
    ids = {link.b_id if link.a_id == known.node.id else link.a_id for link in links}
    return set(session.scalars(select(SiteNode).where(SiteNode.id.in_(ids))))


def _look_at(session: Session, node: SiteNode, changes: Changes, now: float) -> bool:
    """Where is `node` now, in the eyes of its peers? True when it is reached in another way than before."""
    before = node.way4, node.way6
    if twins.unpacked(node.starts).suspected(now):
        return False  # its peers see now the one server, now the other
    query = select(LinkEnd, Link).join(Link, Link.number == LinkEnd.number)
    query = query.where(
        LinkEnd.node_id != node.id, LinkEnd.seen_at != "", (Link.a_id == node.id) | (Link.b_id == node.id)
    )
    sightings = [
        Sighting(link.a_port if link.a_id == node.id else link.b_port, end.seen_at, end.state == "up")
        for end, link in session.execute(query)
    ]
    four, six = (endpoints.outside(node.addresses, sightings, version) for version in (4, 6))
    node.outside4, node.way4, node.outside6, node.way6 = four.address, four.way, six.address, six.way
    refresh_endpoints(session, node, changes)
    return before != (node.way4, node.way6)
