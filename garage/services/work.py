"""The worker's transactions: ownership, what is wanted of a node, what became of it.

Every write names its `Hold`; one whose epoch is no longer the node's is refused with `version_conflict` and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from garage.core import ipam, machine_limits
from garage.core.changes import Move, Redo, Wanted
from garage.core.names import SPARES, fqdn
from garage.core.node_states import NodeState
from garage.core.pool import Cold
from garage.core.states import Event, State
from garage.core.types import NodeAccess, NodeFacts
from garage.core.volumes import Volume
from garage.db.models import Image, Machine, Node, Project, Setting
from garage.db.node_models import KeptDomain
from garage.db.revisions import touch
from garage.errors import N_, GarageError
from garage.services import adopting, growing, moving, news, own_site, snapshot_notes, volume_notes
from garage.services.contact import heard, publish_node
from garage.services.context import Context, audit
from garage.services.growing import Grown
from garage.services.moving import MoveNote
from garage.services.snapshot_notes import SnapshotNote
from garage.services.transitions import fire, show_step
from garage.services.volume_notes import VolumeNote

PARKED = "parked"
SETTLED = (State.GONE.value, State.LOST.value, State.REQUESTED.value)
"""States that ask nothing of a worker."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A worker's ownership of a node's work."""

    node: str
    owner: str
    epoch: int


@dataclass(frozen=True, slots=True)
class NodeWork:
    """All that is wanted of a node at one moment."""

    machines: dict[str, Wanted]
    applied_version: int
    boot_id: str
    """Of the boot in which netd applied it; empty if netd did not say."""
    parked: bool
    hypervisor_error: bool
    """The node is recorded as away."""
    arriving: dict[str, Wanted] = field(default_factory=dict)
    """Machines of other nodes that move here."""
    draining: bool = False
    leftovers: frozenset[str] = frozenset()
    """Machines of which something is here that has to go."""
    adopting: bool = False
    """After a restore: it is looked at, and nothing is done; counts as parked, too."""
    kept: frozenset[str] = frozenset()
    """Domains without a row, whose guests are asked to shut down once."""
    volumes: Mapping[str, Volume] = field(default_factory=dict)
    """Those that no machine has, of which something is wanted; the others are their machines'."""
    revision: int = 0
    """That of the node's rows."""


@dataclass(frozen=True, slots=True)
class Step:
    """Progress for people."""

    machine: str
    step: str


@dataclass(frozen=True, slots=True)
class Started:
    """The domain of this boot was started."""

    machine: str


@dataclass(frozen=True, slots=True)
class Warm:
    """A pool machine has booted and is paused: it may be taken."""

    machine: str


@dataclass(frozen=True, slots=True)
class BootedAnew:
    """A taken machine did not get its identity while it ran, and boots like any other."""

    machine: str


@dataclass(frozen=True, slots=True)
class Moved:
    """An event of the state table, decided when the machine was in `state` since `since`; stale ones are dropped."""

    machine: str
    state: State
    since: float
    event: Event
    error: dict[str, Any] | None = field(default=None, hash=False)
    console: str = ""


@dataclass(frozen=True, slots=True)
class KeysPushed:
    """The guest knows exactly these keys; stale if others are wanted by now."""

    machine: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DiskLimited:
    """The running domain's disk may do this from now on."""

    machine: str
    iops: int
    megabytes: int


@dataclass(frozen=True, slots=True)
class Redone:
    """What was to be done to the disk is done, as it was wanted in the state that began at `since`; stale if more is wanted by now."""

    machine: str
    redo: Redo
    since: float


@dataclass(frozen=True, slots=True)
class Cleaned:
    """Nothing of this machine, which is at another node or nowhere, is on the node any more."""

    machine: str


Note = (
    Step
    | Started
    | Warm
    | BootedAnew
    | KeysPushed
    | DiskLimited
    | Moved
    | Redone
    | Cleaned
    | MoveNote
    | SnapshotNote
    | VolumeNote
    | Grown
)


def nodes(ctx: Context) -> list[NodeAccess]:
    """Every node, by name."""
    query = select(Node.name, Node.hypervisor, Node.address, Node.ssh_host_key).order_by(Node.name)
    with ctx.db.read() as session:
        return [NodeAccess(*row) for row in session.execute(query)]


def held(session: Session, hold: Hold) -> Node:
    """The node's row, in the caller's transaction, if `hold` is still its owner."""
    row = session.get(Node, hold.node, with_for_update=True)  # nobody takes it before this transaction ends
    if row is None or (row.owner, row.epoch) != (hold.owner, hold.epoch):
        raise GarageError(
            "version_conflict",
            N_("another worker owns {node} now"),
            node=hold.node,
        )
    return row


def load(ctx: Context, node: str) -> NodeWork:
    """What is wanted of `node`, in one snapshot."""
    query = select(Machine, Project.name, Image.sha256, Image.manifest)
    query = query.outerjoin(Project, Project.id == Machine.project_id).join(Image, Image.id == Machine.image_id)
    query = query.where(or_(Machine.node == node, Machine.moving_to == node), Machine.state.not_in(SETTLED))
    with ctx.db.read() as session:
        row = session.get_one(Node, node)
        found = list(session.execute(query))
        moves = moving.open_moves(session, [row[0].id for row in found if row[0].moving_to])
        wanted = {
            machine.id: _wanted(ctx, machine, project, sha256, manifest, moves.get(machine.id))
            for machine, project, sha256, manifest in found
        }
        orders = snapshot_notes.of_node(session, node)
        wanted |= {
            key: replace(wanted[key], orders=orders[key], has_snapshots=True) for key in orders.keys() & wanted.keys()
        }
        with_machines, volumes = volume_notes.of_node(session, node)
        wanted |= {
            key: replace(wanted[key], volumes=with_machines[key]) for key in with_machines.keys() & wanted.keys()
        }
        here = {machine.id for machine, *_ in found if machine.node == node}
        return NodeWork(
            {key: value for key, value in wanted.items() if key in here},
            row.applied_version,
            row.boot_id,
            _parked(session, node) or adopting.waits(session, node),
            bool(row.hypervisor_error),
            {key: value for key, value in wanted.items() if key not in here},
            row.state == NodeState.DRAINING.value,
            moving.leftovers(session, node),
            adopting.waits(session, node),
            adopting.kept(session, node),
            volumes,
            row.revision,
        )


def _wanted(
    ctx: Context, machine: Machine, project: str | None, sha256: str, manifest: dict[str, Any], move: Move | None
) -> Wanted:
    limits = machine_limits.of(ctx.config.limits, machine.size, machine.limits)
    return Wanted(
        id=machine.id,
        name=machine.name,
        project=project or SPARES,
        state=State(machine.state),
        state_since=machine.state_since,
        wants_running=machine.wants_running,
        started=machine.started,
        spec_version=machine.spec_version,
        step=machine.step,
        image=sha256,
        cmdline=str(manifest.get("cmdline", "")),
        boot=str(manifest.get("boot", "kernel")),
        vcpus=machine.vcpus,
        memory_mib=machine.memory_mib,
        disk_gib=machine.disk_gib,
        ipv4=machine.ipv4,
        mac=machine.mac,
        tap=machine.tap,
        keys_applied=machine.keys_applied,
        warm=machine.warm,
        taken=machine.taken,
        ran=machine.ready_at is not None,
        request=machine.request,
        redo=Redo(machine.redo),
        revert_to=machine.revert_to,
        move=move,
        disk_iops=limits.disk_iops,
        disk_mb=limits.disk_mb,
        disk_limited=machine.disk_limits == limits.disk,
        most_vcpus=machine.most_vcpus,
        most_memory_mib=machine.most_memory_mib,
        grows=machine.grown_from is not None,
    )


def record(ctx: Context, hold: Hold, notes: Sequence[Note]) -> list[bool]:
    """Write a batch in one transaction; False for each note that was stale (the machine has moved on)."""
    results = record_all(ctx, {hold: notes})[hold]
    if isinstance(results, GarageError):
        raise results
    return results


def record_all(ctx: Context, batches: Mapping[Hold, Sequence[Note]]) -> dict[Hold, list[bool] | GarageError]:
    """`record` for several nodes in one transaction; for a hold that is lost its `version_conflict`, and nothing of it is written."""
    done: dict[Hold, list[bool] | GarageError] = {}
    nodes: dict[Hold, Node] = {}
    with ctx.db.write() as session:
        for hold in sorted(batches, key=lambda hold: hold.node):
            try:
                nodes[hold] = held(session, hold)
            except GarageError as error:
                done[hold] = error
        # all at once, and kept for the session: before each read of a single one, what was noted so far would be written
        ids = {note.machine for hold in nodes for note in batches[hold] if not isinstance(note, VolumeNote)}
        rows = list(session.scalars(select(Machine).where(Machine.id.in_(ids))))
        for hold, node in nodes.items():
            done[hold] = [_note(session, ctx, node, note) for note in batches[hold]]
        del rows
    return done


def _note(session: Session, ctx: Context, node: Node, note: Note) -> bool:
    if isinstance(note, Cleaned):
        moving.cleaned(session, node.name, note.machine)
        return True
    if isinstance(note, VolumeNote):
        return volume_notes.note(session, ctx, node, note)
    machine = session.get(Machine, note.machine)
    if machine is not None and isinstance(note, MoveNote):
        return moving.note(session, ctx, node, machine, note)
    if machine is None or machine.node != node.name:
        return False
    if isinstance(note, SnapshotNote):
        return snapshot_notes.note(session, ctx, machine, note)
    return _note_of(session, ctx, node, machine, note)


def _note_of(session: Session, ctx: Context, node: Node, machine: Machine, note: Note) -> bool:
    match note:
        case Step():
            show_step(session, ctx, machine, note.step)
        case Started():
            machine.started = True
        case Warm():
            machine.warm = machine.state == State.SPARE.value
        case BootedAnew():
            machine.taken, machine.cold_reason = False, Cold.FAILED.value
        case KeysPushed():
            machine.keys_applied = tuple(machine.authorized_keys) == note.keys
            return machine.keys_applied
        case DiskLimited():
            machine.disk_limits = machine_limits.MachineLimits(note.iops, note.megabytes).disk
        case Grown():
            return growing.note(session, ctx, machine, note)
        case Redone():
            return _redone(session, ctx, machine, note)
        case Moved():
            return _move(session, ctx, node, machine, note)
    return True


def _redone(session: Session, ctx: Context, machine: Machine, note: Redone) -> bool:
    if (machine.redo, machine.state_since) != (note.redo.value, note.since):
        return False
    if note.redo is Redo.REVERT:
        snapshot_notes.returned(session, ctx, machine)
    machine.redo = Redo.NOTHING.value
    return True


def _move(session: Session, ctx: Context, node: Node, machine: Machine, note: Moved) -> bool:
    if (machine.state, machine.state_since) != (note.state.value, note.since):
        return False
    error = GarageError.from_dict(note.error) if note.error else None
    state = fire(session, ctx, machine, note.event, error=error)
    if state is State.FAILED:
        machine.console_tail = note.console
        news.of_machine(session, ctx, "machine.failed", machine, error=machine.error)
    elif state is State.READY and machine.ready_at is None:
        machine.ready_at = ctx.clock()
        news.of_machine(session, ctx, "machine.ready", machine)
    elif note.event is Event.POWERED_OFF:
        machine.wants_running = False
    elif state is State.GONE:
        _bury(node, machine)
        snapshot_notes.bury(session, machine)
        volume_notes.release(session, machine)
    return True


def _bury(node: Node, machine: Machine) -> None:
    """Its address and name are free, its place in the node's network goes, its secrets too."""
    node.spec_version += 1
    machine.host_key_private, machine.user_data = b"", None


def let_go(ctx: Context, hold: Hold, domain: str) -> None:
    """A kept domain does not run (any more): from now on it is whoever's looks after it."""
    with ctx.db.write() as session:
        held(session, hold)
        if row := session.get(KeptDomain, (hold.node, domain)):
            session.delete(row)
            touch(session, [hold.node])


def record_facts(ctx: Context, hold: Hold, facts: NodeFacts) -> None:
    """What the node has, and that its hypervisor answers; a change that only measures noise is not written."""
    with ctx.db.write() as session:
        node = held(session, hold)
        if node.hypervisor_error:
            node.hypervisor_error = ""
            publish_node(session, ctx, node)
            heard(session, ctx, node)
        node.facts = asdict(facts)


def record_away(ctx: Context, hold: Hold, reason: str) -> None:
    """The hypervisor does not answer: machines keep their state."""
    with ctx.db.write() as session:
        node = held(session, hold)
        if node.hypervisor_error != reason[:500]:
            node.hypervisor_error = reason[:500]
            publish_node(session, ctx, node)


def set_parked(ctx: Context, parked: bool) -> None:
    """Parked: this server's machines stay as they are until its garage is up again; netd's rules have to be applied anew then."""
    with ctx.db.write() as session:
        session.execute(delete(Setting).where(Setting.key.in_((PARKED, _parked_key(ctx.config.node)))))
        if parked:
            session.add(Setting(key=_parked_key(ctx.config.node), value="1"))
        touch(session, [ctx.config.node])


def _parked_key(node: str) -> str:
    return f"{PARKED}:{node}"


def _parked(session: Session, node: str) -> bool:
    """PARKED alone is what earlier versions wrote: it held for all nodes."""
    return session.scalar(select(Setting.key).where(Setting.key.in_((PARKED, _parked_key(node))))) is not None


def silence(ctx: Context, node: str) -> list[str]:
    """The node goes down: machines that run become `unreachable` and still want to run. Returns all whose domain may run.

    Whoever owned the node's work does so no longer, and what it still writes is refused.
    """
    running = (State.BOOTING.value, State.READY.value)
    with ctx.db.write() as session:
        row = session.get_one(Node, node)
        row.applied_version, row.owner, row.epoch = 0, "", row.epoch + 1
        query = select(Machine).where(Machine.node == node, Machine.state.in_(running))
        for machine in session.scalars(query):
            fire(session, ctx, machine, Event.SILENT)
        every = select(Machine.id).where(Machine.node == node, Machine.state.not_in(SETTLED))
        audit(session, ctx, "garage", "node.park", node)
        return list(session.scalars(every))


def spare_place(ctx: Context, machine_id: str) -> tuple[str, str, str, str] | None:
    """(IPv4, its gateway, IPv6, its gateway) of a machine that is nobody's; None for one that is somebody's."""
    with ctx.db.read() as session:
        machine = session.get_one(Machine, machine_id)
        if machine.state != State.SPARE.value:
            return None
        prefixes = own_site.prefixes(session, ctx)
        return machine.ipv4, ipam.gateway(prefixes[0]), machine.ipv6, ipam.gateway(prefixes[1])


@dataclass(frozen=True, slots=True)
class Identity:
    """What a machine is told about itself at its first boot. Holds secrets: used and forgotten."""

    id: str
    name: str
    fqdn: str
    host_key_private: bytes
    host_key_public: str
    authorized_keys: list[str]
    ipv4: str
    gateway: str
    ipv6: str
    gateway6: str
    user_data: str | None
    reverted_at: float | None = None
    own_mac: str = ""
    """Of a machine whose image is not ours: cloud-init has to be told by which interface it asks for its address."""


def authorized_keys(ctx: Context, machine_id: str) -> tuple[str, ...]:
    """Who may log in, as its project's members' keys say."""
    with ctx.db.read() as session:
        return tuple(session.get_one(Machine, machine_id).authorized_keys)


def identity(ctx: Context, machine_id: str) -> Identity:
    """Read at the moment when the seed is written, so that keys added meanwhile are in it."""
    with ctx.db.read() as session:
        query = select(Machine, Project.name, Image.manifest).join(Project, Project.id == Machine.project_id)
        query = query.join(Image, Image.id == Machine.image_id).where(Machine.id == machine_id)
        machine, project, manifest = session.execute(query).one()
        prefixes = own_site.prefixes(session, ctx)
        return Identity(
            id=machine.id,
            name=machine.name,
            fqdn=fqdn(machine.name, project, own_site.current(session, ctx).site_domain),
            host_key_private=ctx.vault.unlock(machine.host_key_private),
            host_key_public=machine.host_key_public,
            authorized_keys=list(machine.authorized_keys),
            ipv4=machine.ipv4,
            gateway=ipam.gateway(prefixes[0]),
            ipv6=machine.ipv6,
            gateway6=ipam.gateway(prefixes[1]),
            user_data=ctx.vault.unlock(machine.user_data).decode() if machine.user_data else None,
            reverted_at=machine.reverted_at,
            own_mac=machine.mac if manifest.get("boot", "kernel") != "kernel" else "",
        )
