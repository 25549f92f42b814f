"""Nodes as the controller knows them: their specs go down, their reports come up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from garage.core import ipam, labels, machine_limits, names
from garage.core.placement import Room
from garage.core.renumber import Prefixes
from garage.core.silence import SILENT_AFTER, silence
from garage.core.states import COUNTED, State
from garage.core.types import Demand
from garage.db.models import EventRow, Machine, Node, Project
from garage.db.node_models import NodeLoad
from garage.errors import N_, GarageError
from garage.services import adopting, capacity, copies, naming, own_site
from garage.services.contact import heard
from garage.services.context import Caller, Context, audit
from garage.services.rights import require_reader
from garage.services.vault import digest
from garage.services.views import NOTHING, CopyView, NodeView, WholeView
from netd import wire

SILENT = "silent"
REQUESTS_TOLD = 8
FORGED = 1 << 30
"""A version that no node has come to honestly; it must leave room to go on (the column has 31 bits)."""


def authenticate(ctx: Context, token: str) -> str | None:
    """The node whose netd holds this token, None for an unknown one."""
    with ctx.db.read() as session:
        return session.scalar(select(Node.name).where(Node.token_hash == digest(token), Node.token_hash != ""))


def sealed_spec(ctx: Context, node: str, after: int, *, limits: bool = False) -> bytes | None:
    """The node's whole spec, signed, when it is newer than version `after`; None when there is no news, and while the node waits to be
    adopted: what runs there keeps its network until then. `limits`: its netd understands those of machines."""
    with ctx.db.read() as session:
        row = session.get_one(Node, node)
        if row.spec_version <= after or adopting.waits(session, node):
            return None
        return wire.seal(build_spec(session, ctx, row, limits=limits), ctx.controller_key)


def asked_by(ctx: Context, node: str, after: int) -> list[str]:
    """The ids of the requests to which machines go back whose place came after version `after`; a few of them, for the node's log."""
    query = select(Machine.request).where(Machine.node == node, Machine.spec_version > after, Machine.request != "")
    with ctx.db.read() as session:
        return list(session.scalars(query.distinct().order_by(Machine.request).limit(REQUESTS_TOLD)))


def build_spec(session: Session, ctx: Context, node: Node, *, limits: bool = False) -> wire.NodeSpec:
    """What the node's network should be, derived from the machines' rows."""
    query = select(Machine, Project.name).outerjoin(Project, Project.id == Machine.project_id)
    here = or_(Machine.node == node.name, Machine.moving_to == node.name)
    query = query.where(here, Machine.state.not_in([State.GONE.value, State.LOST.value])).order_by(Machine.number)
    return wire.NodeSpec(
        node=node.name,
        instance=ctx.config.instance,
        version=node.spec_version,
        bridge=_bridge(ctx, own_site.prefixes(session, ctx)),
        domain=own_site.current(session, ctx).site_domain,
        machines=tuple(
            _machine_net(machine, project or names.SPARES, node.name, _limits(ctx, machine) if limits else {})
            for machine, project in session.execute(query)
        ),
        peers=tuple(session.scalars(select(Node.name).where(Node.name != node.name).order_by(Node.name))),
        elsewhere=naming.elsewhere(session, node),
    )


def _bridge(ctx: Context, prefixes: Prefixes) -> wire.Bridge:
    config = ctx.config
    return wire.Bridge(
        name=names.bridge(config.instance),
        mac=names.mac(config.instance, 0),
        ipv4=ipam.gateway(prefixes[0]),
        ipv6=ipam.gateway(prefixes[1]),
        site_ipv4=prefixes[0],
        site_ipv6=prefixes[1],
    )


def _limits(ctx: Context, machine: Machine) -> dict[str, int]:
    found = machine_limits.of(ctx.config.limits, machine.size, machine.limits)
    return {"net_mbit": found.net_mbit, "connections": found.connections}


def _machine_net(machine: Machine, project: str, node: str, limits: Mapping[str, int]) -> wire.MachineNet:
    return wire.MachineNet(
        id=machine.id,
        tap=machine.tap,
        mac=machine.mac,
        ipv4=machine.ipv4,
        ipv6=machine.ipv6,
        name=machine.name,
        project=project,
        arriving=machine.node != node,
        **limits,
    )


def report(ctx: Context, node: str, said: wire.Report) -> None:
    """Record what netd says of its own node; a report never lowers the applied version that a spec has reached."""
    with ctx.db.write() as session:
        row = session.get_one(Node, node)
        before = (row.applied_version, row.refusal)
        if row.spec_version < said.applied_version < FORGED:
            _overtake(session, row, said.applied_version)
        row.applied_version = min(said.applied_version, row.spec_version)
        row.refusal = _refusal(said)
        row.reported_at, row.boot_id = ctx.clock(), said.boot_id
        heard(session, ctx, row)
        if not row.address:  # the controller's own server: no other node has a say in what the site is
            _hear_of_site(session, ctx, node, said)
        if before != (row.applied_version, row.refusal):
            data = {"applied_version": row.applied_version, "refused": bool(row.refusal)}
            session.add(EventRow(at=ctx.clock(), kind="node", project_id=None, subject=node, data=data))


def _refusal(said: wire.Report) -> dict[str, Any] | None:
    """Why the node does not do what is wanted: it does not take the spec, or it cannot."""
    if found := said.refusal:
        return {"code": found.code, "text": found.text, "version": found.version}
    return {"code": "network_error", "text": said.trouble, "version": 0} if said.trouble else None


def _hear_of_site(session: Session, ctx: Context, node: str, said: wire.Report) -> None:
    if said.site and said.domain:
        own_site.rename(session, ctx, node, said.site, said.domain)
    own_site.hear(session, (said.ipv4, said.ipv6) if said.ipv4 and said.ipv6 else None)


def _overtake(session: Session, node: Node, applied: int) -> None:
    """The database is of a time before: the node would take no older spec, and what it applied knows nothing of these machines."""
    node.spec_version = applied + 1
    here = update(Machine).where(Machine.node == node.name).values(spec_version=node.spec_version)
    session.execute(here, execution_options={"synchronize_session": False})


def listing(ctx: Context, _caller: Caller) -> list[NodeView]:
    """All nodes with what is free on them; every member may see that, so that a refusal can be understood."""
    with ctx.db.read() as session:
        return views(session, ctx, session.scalars(select(Node).order_by(Node.name)).all())


def views(session: Session, ctx: Context, rows: Sequence[Node]) -> list[NodeView]:
    """In their order, and in as many queries as one takes."""
    names_ = [node.name for node in rows]
    owned = [state.value for state in COUNTED if state is not State.SPARE]
    query = select(Machine.node, func.count()).where(Machine.node.in_(names_), Machine.state.in_(owned))
    machines = dict(session.execute(query.group_by(Machine.node)).all())
    rooms = {room.name: room for room in capacity.every_room(session, ctx, names_)}
    coming = copies.under_way(session, ctx, names_)
    return [
        _view(ctx, node, rooms.get(node.name), machines.get(node.name, 0), coming.get(node.name, [])) for node in rows
    ]


def whole(ctx: Context, caller: Caller) -> WholeView:
    """What all nodes together have promised, and may promise (admin, auditor)."""
    require_reader(caller)
    with ctx.db.read() as session:
        rooms = capacity.every_room(session, ctx)
        machines = session.scalar(select(func.sum(NodeLoad.machines))) or 0
        taking = session.scalar(select(func.count()).where(NodeLoad.takes)) or 0
    used, most = _sum(room.used for room in rooms), _sum(room.most for room in rooms)
    return WholeView(len(rooms), taking, int(machines), used, most)


def _sum(parts: Iterable[Demand]) -> Demand:
    found = [(part.vcpus, part.memory_mib, part.disk_gib) for part in parts]
    return Demand(*map(sum, zip(*found, strict=True))) if found else NOTHING


def label(ctx: Context, caller: Caller, name: str, changes: Mapping[str, object]) -> NodeView:
    """Set labels of a node; an empty value removes one. Machines that are there stay, whatever they asked for (admin or operator)."""
    wanted = labels.check(changes, removing=True)
    with ctx.db.write() as session:
        own_site.require_operator_here(session, ctx, caller)
        node = session.get(Node, name)
        if node is None:
            raise GarageError(
                "not_found", N_("there is no node {name}"), hint=N_("“garage node list” shows them"), name=name[:64]
            )
        merged = {key: value for key, value in {**node.labels, **wanted}.items() if value}
        node.labels = labels.check(merged)
        audit(session, ctx, caller.name, "node.label", name, labels=merged)
        session.flush()
        return views(session, ctx, [node])[0]


def get(ctx: Context, caller: Caller, name: str) -> NodeView:
    """For admins, auditors and operators. Raises `not_found`."""
    with ctx.db.read() as session:
        own_site.require_sight_here(session, ctx, caller)
        if node := session.get(Node, name):
            return views(session, ctx, [node])[0]
    hint = N_("“garage node list” shows them")
    raise GarageError("not_found", N_("there is no node {name}"), hint=hint, name=name[:64])


def _view(ctx: Context, node: Node, room: Room | None, machines: int, coming: Sequence[CopyView]) -> NodeView:
    facts = node.facts
    return NodeView(
        name=node.name,
        labels=node.labels,
        virtualisation=facts.get("virtualisation", ""),
        vcpus=facts.get("vcpus", 0),
        memory_mib=facts.get("memory_mib", 0),
        free_vcpus=room.free_vcpus if room else 0,
        free_memory_mib=room.free_memory_mib if room else 0,
        disk_free_gib=facts.get("disk_free_gib", 0.0),
        disk_total_gib=facts.get("disk_total_gib", 0.0),
        machines=machines,
        hypervisor_error=node.hypervisor_error,
        netd_error=netd_error(ctx.clock(), node),
        spec_version=node.spec_version,
        applied_version=node.applied_version,
        reported_at=node.reported_at,
        state=node.state,
        state_since=node.state_since,
        silent_since=node.silent_since,
        silence=silence(bool(node.hypervisor_error), netd_error(ctx.clock(), node) == SILENT).value,
        copies=coming,
        promised=room.used if room else NOTHING,
        most=room.most if room else NOTHING,
    )


def netd_error(now: float, node: Node) -> str:
    """What is wrong with the node's netd, in a word or two; empty while all is well."""
    if node.refusal:
        return f"{node.refusal['code']}: {node.refusal['text']}"
    if node.reported_at is None or now - node.reported_at > SILENT_AFTER:
        return SILENT
    return ""
