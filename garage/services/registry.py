"""The registry: who joins, what each node is told, who leaves. One transaction per function, one writer at a time."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from garage.core import endpoints
from garage.db.models import EventRow
from garage.db.overlay_models import Counter, Measurement, NodeKey, PathHour, Site, SiteInvitation, SiteNode
from garage.errors import N_, GarageError
from garage.services import grants, invitations, overlay_specs
from garage.services.allotting import add_site
from garage.services.context import Context, audit
from garage.services.invitations import own_invitation
from garage.services.overlay_links import Changes, of_nodes, remove
from garage.services.overlay_state import lock, mark_dirty, raise_versions
from garage.services.vault import digest
from garage.services.wiring import rewire
from netd import wire

__all__ = ["Standing", "join", "leave", "news", "outside", "own_invitation", "standing", "versions"]

CLOCK_SECONDS = 60.0
"""How far a joining node's clock may be off: names, leases and logs of all sites are compared."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A node as its credential shows it, with the versions in force."""

    node_id: str
    spec: int
    table: int

    def newer(self, spec: int, table: int) -> bool:
        return self.spec > spec or self.table > table


def join(ctx: Context, request: wire.JoinRequest) -> wire.JoinAnswer:
    """Make the bearer of an open invitation a member, or give the same bearer the same answer again.

    Raises `token_…`, `clock_off`, `key_in_use`, `already_exists` (name), `invalid_field`, `no_address`. Whoever has no good token costs
    one look.
    """
    with ctx.db.read() as session:
        invitations.check_token(session, ctx, request.token, request.key)
    _check_clock(ctx, request.time)
    with ctx.db.write() as session:
        lock(session)
        invitation = invitations.check_token(session, ctx, request.token, request.key)
        if invitation.used_at is None:
            _admit(session, ctx, invitation, request)
        return _answer(session, ctx, invitation)


def _check_clock(ctx: Context, theirs: float) -> None:
    off = theirs - ctx.clock()
    if abs(off) > CLOCK_SECONDS:
        ahead = N_("your clock is {seconds} s ahead of the registry's")
        behind = N_("your clock is {seconds} s behind the registry's")
        hint = N_("set the clock by NTP, e.g. with chrony, then try again")
        raise GarageError("clock_off", ahead if off > 0 else behind, hint=hint, seconds=round(abs(off)))


def _admit(session: Session, ctx: Context, invitation: SiteInvitation, request: wire.JoinRequest) -> None:
    """Rows of the new node (and site), links to others, the invitation used up."""
    _check_ports(request)
    _check_bearer(invitation, request.node)
    _check_key(session, request.key)
    site = _site(session, ctx, invitation, request)
    node = _node(ctx, site, request)
    credential = secrets.token_urlsafe(32)
    node.credential_hash = digest(credential)
    session.add(node)
    session.flush()
    session.add(NodeKey(node_id=node.id, number=1, key=request.key))
    session.flush()
    invitation.used_at, invitation.used_key, invitation.node_id = ctx.clock(), request.key, node.id
    invitation.credential = ctx.vault.lock(credential.encode())
    invitations.forget_credentials(session, ctx)
    changes = Changes(nodes={node.id})
    if rewire(session, ctx, changes):
        mark_dirty(session)
    raise_versions(session, ctx, changes.nodes)
    audit(session, ctx, f"site {site.name}"[:64], "site.join", site.name, node=node.name, asn=site.asn)
    publish(session, ctx, site.name)


def _check_ports(request: wire.JoinRequest) -> None:
    if request.port + request.ports - 1 > 65_535:
        raise GarageError(
            "invalid_field",
            N_("{count} ports from {first} on go beyond 65535"),
            pointer="/ports",
            count=request.ports,
            first=request.port,
        )


def _check_bearer(invitation: SiteInvitation, node: str) -> None:
    """A node of this very garage joins under its own name alone: under another one its peers would take it for that one."""
    if invitation.own and invitation.created_by not in ("garage", node):
        raise GarageError("forbidden", N_("{node} reports about itself alone"), node=invitation.created_by)


def _check_key(session: Session, key: str) -> None:
    if session.scalar(select(NodeKey.node_id).where(NodeKey.key == key)) is not None:
        raise GarageError(
            "key_in_use",
            N_("another node has this public key already"),
            hint=N_("make a key of its own: netd leave, then join again; never copy a node's files to another server"),
            pointer="/key",
        )


def _site(session: Session, ctx: Context, invitation: SiteInvitation, request: wire.JoinRequest) -> Site:
    if not invitation.adds_node:
        return add_site(session, ctx, invitation.site, (request.ipv4, request.ipv6))
    site = session.scalars(select(Site).where(Site.name == invitation.site)).first()
    if site is None:
        raise GarageError(
            "token_withdrawn", N_("{name} is no site any more"), hint=invitations.HINT, name=invitation.site
        )
    if (request.ipv4, request.ipv6) not in ((site.ipv4, site.ipv6), (site.proposed_ipv4, site.proposed_ipv6)):
        raise GarageError(
            "invalid_field",
            N_("a node of {name} uses its prefixes, {ipv4} and {ipv6}"),
            pointer="/ipv4",
            name=site.name,
            ipv4=site.ipv4,
            ipv6=site.ipv6,
        )
    if session.scalar(select(SiteNode.id).where(SiteNode.site_id == site.id, SiteNode.name == request.node)):
        raise GarageError(
            "already_exists",
            N_("{site} has a node named {name} already"),
            hint=N_("take another name"),
            pointer="/node",
            site=site.name,
            name=request.node,
        )
    return site


def _node(ctx: Context, site: Site, request: wire.JoinRequest) -> SiteNode:
    own = endpoints.addresses(request.endpoints)
    return SiteNode(
        id=ctx.new_id(),
        site_id=site.id,
        name=request.node,
        credential_hash="",
        port=request.port,
        ports=request.ports,
        kernel=request.kernel,
        addresses=own,
        way4=endpoints.outside(own, (), 4).way,
        way6=endpoints.outside(own, (), 6).way,
        spec_version=0,
        joined_at=ctx.clock(),
    )


def _answer(session: Session, ctx: Context, invitation: SiteInvitation) -> wire.JoinAnswer:
    node = session.get(SiteNode, invitation.node_id, populate_existing=True)
    if node is None or invitation.credential is None:
        raise GarageError("token_used", N_("this invitation was used already"), hint=invitations.HINT)
    public = ctx.controller_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return wire.JoinAnswer(
        site=invitation.site,
        credential=ctx.vault.unlock(invitation.credential).decode(),
        registry_key=public.decode(),
        spec=overlay_specs.sealed_spec(session, ctx, node),
        table=overlay_specs.sealed_table(session, ctx),
    )


def standing(ctx: Context, credential: str) -> Standing | None:
    """Whose credential this is, None for one that is void; one query, asked at every poll."""
    query = select(SiteNode.id, SiteNode.spec_version, Counter.value).join(Counter, Counter.name == "table")
    query = query.where(SiteNode.credential_hash == digest(credential))
    with ctx.db.read() as session:
        row = session.execute(query).first()
        return Standing(*row) if row else None


def versions(ctx: Context, since: int) -> tuple[int, int, dict[str, int]]:
    """(serial, version of the Table, LinkSpec version by node id); the last is empty while the serial is `since`."""
    with ctx.db.read() as session:
        numbers = dict(session.execute(select(Counter.name, Counter.value)).all())
        serial, table = numbers["serial"], numbers["table"]
        if serial == since:
            return serial, table, {}
        return serial, table, dict(session.execute(select(SiteNode.id, SiteNode.spec_version)).all())


def news(ctx: Context, node_id: str, spec: int, table: int) -> wire.News | None:
    """What is newer than these versions; None when nothing is, or the node is none any more."""
    with ctx.db.read() as session:
        node = session.get(SiteNode, node_id)
        if node is None:
            return None
        newer = node.spec_version > spec, overlay_specs.table_version(session) > table
        if not any(newer):
            return None
        return wire.News(
            spec=overlay_specs.sealed_spec(session, ctx, node) if newer[0] else None,
            table=overlay_specs.sealed_table(session, ctx) if newer[1] else None,
        )


def outside(ctx: Context, node_id: str) -> wire.Outside:
    """What its peers see of a node."""
    with ctx.db.read() as session:
        if (node := session.get(SiteNode, node_id)) is None:
            return wire.Outside()
        ways = {"way4": node.way4, "way6": node.way6}
        found = {"address4": node.outside4 or None, "address6": node.outside6 or None, **ways}
        return msgspec.convert(found, wire.Outside)


def leave(ctx: Context, node_id: str) -> None:
    """The node goes, with its last node the site; its credential is void and its peers are told at once."""
    with ctx.db.write() as session:
        lock(session)
        node = session.get(SiteNode, node_id)
        if node is None:
            return
        site = session.get_one(Site, node.site_id)
        nodes = list(session.scalars(select(SiteNode).where(SiteNode.site_id == site.id)))
        audit(session, ctx, f"site {site.name}"[:64], "site.leave", site.name, node=node.name)
        drop(session, ctx, site, [node], whole=len(nodes) == 1)


def drop(session: Session, ctx: Context, site: Site, nodes: list[SiteNode], *, whole: bool) -> None:
    """Remove nodes and their links, or the whole site; others are linked anew where that is needed."""
    gone, changes = {node.id for node in nodes}, Changes()
    remove(session, of_nodes(session, gone), changes)
    session.execute(delete(NodeKey).where(NodeKey.node_id.in_(gone)))
    session.execute(delete(Measurement).where(Measurement.client_id.in_(gone) | Measurement.server_id.in_(gone)))
    for node in nodes:
        session.delete(node)
    session.flush()
    if whole:
        session.execute(delete(PathHour).where((PathHour.site_id == site.id) | (PathHour.peer_id == site.id)))
        grants.forget_site(session, site.name)
        session.delete(site)
        session.flush()
    if rewire(session, ctx, changes):
        mark_dirty(session)
    raise_versions(session, ctx, changes.nodes - gone, table=whole)
    publish(session, ctx, site.name)


def publish(session: Session, ctx: Context, site: str) -> None:
    """An event row for whoever looks at the map."""
    session.add(EventRow(at=ctx.clock(), kind="site", project_id=None, subject=site[:64], data={"name": site}))
