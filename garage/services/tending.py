"""What follows from what nodes reported: the topology's later steps, keys that change. Called again and again by the gateway."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from garage.core.rotation import Step, Tunnel, steps
from garage.db.overlay_models import Counter, Link, LinkEnd, NodeKey, PathHour, SiteInvitation, SiteNode
from garage.services import measurements
from garage.services.context import Context
from garage.services.invitations import MAX_SECONDS
from garage.services.overlay_links import Changes, Maker, remove
from garage.services.overlay_state import lock, raise_versions
from garage.services.wiring import idle, rewire

KEPT_HOURS = 24


def dirty(ctx: Context) -> int:
    """A number that grows with every change that may call for `tend`."""
    with ctx.db.read() as session:
        return session.scalar(select(Counter.value).where(Counter.name == "dirty")) or 0


def tend(ctx: Context) -> bool:
    """Do what is due; True when there is more to do soon even if nobody reports anything."""
    with ctx.db.read() as session:
        if idle(session) and not _rotating(session):
            return False
    with ctx.db.write() as session:
        lock(session)
        changes = Changes()
        rewire(session, ctx, changes)
        rotating = _rotate(session, ctx, changes)
        raise_versions(session, ctx, changes.nodes)
        return rotating or bool(changes.nodes)


def forget(ctx: Context) -> None:
    """Round trips older than a day, throughput older than `keep_metrics_days`, invitations that ended a month ago."""
    with ctx.db.write() as session:
        session.execute(delete(PathHour).where(PathHour.hour < int(ctx.clock() // 3600) - KEPT_HOURS))
        measurements.forget(session, ctx)
        session.execute(delete(SiteInvitation).where(SiteInvitation.expires_at < ctx.clock() - MAX_SECONDS))


def _newest(session: Session) -> dict[str, int]:
    """The newest key number by node."""
    return dict(session.execute(select(NodeKey.node_id, func.max(NodeKey.number)).group_by(NodeKey.node_id)).all())


def _rotating(session: Session) -> bool:
    """Whether a link uses an older key than it could, or replaces another."""
    newest = _newest(session)
    rows = session.execute(select(Link.a_id, Link.a_key, Link.b_id, Link.b_key, Link.replaces))
    return any(row.replaces is not None or row.a_key < newest[row.a_id] or row.b_key < newest[row.b_id] for row in rows)


def _rotate(session: Session, ctx: Context, changes: Changes) -> bool:
    """Do what `core.rotation` says; whether a rotation is under way."""
    session.flush()
    if not _rotating(session):
        return False
    newest = _newest(session)
    links = {link.number: link for link in session.scalars(select(Link))}
    nodes = {node.id: node for node in session.scalars(select(SiteNode))}
    todo = steps(_tunnels(session, links.values(), nodes, newest), ctx.clock())
    for step in todo:
        _do(session, ctx, step, links, nodes, changes)
    session.flush()
    _forget_keys(session)
    return bool(todo) or any(link.draining_since is not None for link in links.values())


def _tunnels(
    session: Session, links: Iterable[Link], nodes: Mapping[str, SiteNode], newest: Mapping[str, int]
) -> list[Tunnel]:
    up: dict[int, int] = defaultdict(int)
    for number in session.scalars(select(LinkEnd.number).where(LinkEnd.state == "up")):
        up[number] += 1
    return [
        Tunnel(
            number=link.number,
            a=link.a_id,
            b=link.b_id,
            outdated=link.a_key < newest[link.a_id] or link.b_key < newest[link.b_id],
            up=up[link.number] == 2,
            dead=up[link.number] == 0,
            replaces=link.replaces,
            draining_since=link.draining_since,
            known=all(nodes[end].applied_version >= nodes[end].spec_version for end in (link.a_id, link.b_id)),
        )
        for link in links
    ]


def _do(
    session: Session,
    ctx: Context,
    step: Step,
    links: Mapping[int, Link],
    nodes: Mapping[str, SiteNode],
    changes: Changes,
) -> None:
    link = links[step.number]
    ends = {link.a_id, link.b_id}
    match step.act:
        case "replace":
            Maker(session, ctx, changes).make(nodes[link.a_id], nodes[link.b_id], link.reason, replaces=link.number)
        case "drain" | "restore":
            link.state = "draining" if step.act == "drain" else "up"
            link.draining_since = ctx.clock() if step.act == "drain" else None
            changes.nodes |= ends
        case "remove":
            remove(session, [link], changes)
            for heir in links.values():
                heir.replaces = None if heir.replaces == link.number else heir.replaces


def _forget_keys(session: Session) -> None:
    """Key pairs that no link uses any more, but the newest."""
    used = {
        (node, key) for node, key in session.execute(select(Link.a_id, Link.a_key).union(select(Link.b_id, Link.b_key)))
    }
    keys = list(session.scalars(select(NodeKey).order_by(NodeKey.node_id, NodeKey.number)))
    newest = {key.node_id: key.number for key in keys}
    for key in keys:
        if key.number != newest[key.node_id] and (key.node_id, key.number) not in used:
            session.delete(key)
