"""What a node that is emptied does with its machines: the plan, the next one that moves, the end."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from garage.core import node_states
from garage.core.changes import MoveStep
from garage.core.drain import LIVE, RUNS, Passage, Resident, Way, plan_drain, rests
from garage.core.node_states import NodeEvent, NodeState
from garage.core.placement import Ask
from garage.core.states import COUNTED, Event, State
from garage.core.types import Demand
from garage.db.machine_models import MoveRow
from garage.db.models import EventRow, Machine, Node
from garage.db.node_models import NodeImage
from garage.errors import N_, GarageError
from garage.services import capacity, moving, snapshots, volume_rules
from garage.services.context import Context, audit, publish_machine
from garage.services.moving import STAYED, MoveEnded
from garage.services.placing import PRESENT
from garage.services.silencing import ours
from garage.services.transitions import fire
from garage.services.work import Hold, held

RETRY = 60.0
"""Seconds until a machine whose migration was refused is tried again."""
PREPARE, PREPARE_AWAY = 1800.0, 60.0
"""Seconds that a target may take to get ready (it may have to fetch the image), and to come back when its libvirt is away."""
CALLED_OFF = 2.0
"""Seconds until one is sent on its way again whose move was called off."""


def tend(ctx: Context, hold: Hold) -> bool:
    """Call off a move from the hold's node for which the target does not get ready; while the node drains: end its pool machines, send
    the next machine on its way when none is. True when anything changed.

    Nothing is sent while so many nodes are silent that the fault must be ours.
    """
    with ctx.db.read() as session:
        if not _due(session, ctx, session.get_one(Node, hold.node)):
            return False
    with ctx.db.write() as session:
        node = held(session, hold)
        if _call_off(session, ctx, node):
            return True
        if node.state != NodeState.DRAINING.value:
            return False
        return _end_spares(session, ctx, node) or _next(session, ctx, node)


def _due(session: Session, ctx: Context, node: Node) -> bool:
    """Whether there may be something to write."""
    query = select(Machine.state, Machine.moving_to).where(Machine.node == node.name, capacity.counted())
    found = list(session.execute(query))
    if _stalled(session, ctx, node):
        return True
    if node.state != NodeState.DRAINING.value or ours(session):
        return False
    return not any(row.moving_to for row in found) or any(row.state == State.SPARE.value for row in found)


def _stalled(session: Session, ctx: Context, node: Node) -> list[tuple[MoveRow, Node]]:
    """Moves that have not begun, with their targets that cannot be asked, or take too long. libvirt knows nothing of them yet."""
    query = select(MoveRow, Node).join(Node, Node.name == MoveRow.target)
    query = query.where(MoveRow.source == node.name, MoveRow.ended_at.is_(None))
    waiting = [(row, target) for row, target in session.execute(query) if row.spec is None]
    return [(row, target) for row, target in waiting if _hopeless(row, target, ctx.clock() - row.began_at)]


def _hopeless(row: MoveRow, target: Node, age: float) -> bool:
    away = target.silent_since is not None or (bool(target.hypervisor_error) and age > PREPARE_AWAY)
    return row.step == MoveStep.WANTED.value and (away or age > PREPARE)


def _call_off(session: Session, ctx: Context, node: Node) -> bool:
    found = _stalled(session, ctx, node)
    for row, target in found:
        error = GarageError(
            "unavailable",
            N_("{node} did not get ready for it"),
            hint=N_("look at that node; it is tried again"),
            node=target.name,
        )
        moving.note(
            session, ctx, node, session.get_one(Machine, row.machine_id), MoveEnded(row.machine_id, error.as_dict())
        )
    return bool(found)


def _end_spares(session: Session, ctx: Context, node: Node) -> bool:
    query = select(Machine).where(Machine.node == node.name, Machine.state == State.SPARE.value)
    ended = list(session.scalars(query))
    for machine in ended:
        machine.wants_running = machine.warm = False
        fire(session, ctx, machine, Event.AGED)
    return bool(ended)


def _next(session: Session, ctx: Context, node: Node) -> bool:
    found = passages(session, ctx, node)
    if any(machine.moving_to for machine, _ in found):
        return False
    for machine, passage in found:
        if passage.way in (Way.LIVE, Way.COLD) and passage.reason is None:
            moving.begin(session, ctx, machine, session.get_one(Node, passage.target), passage.way)
            return True
    stuck = all(State(machine.state) not in RUNS and passage.way is Way.STAYS for machine, passage in found)
    if stuck:
        set_state(session, ctx, node, node_states.after(NodeState.DRAINING, NodeEvent.DRAINED, name=node.name))
        audit(session, ctx, "garage", "node.drained", node.name, left=len(found))
    return stuck


def _machines(session: Session, node: Node) -> list[Machine]:
    """Those that run first, each kind in the order in which they were made."""
    counted = [state.value for state in COUNTED]
    query = select(Machine).where(Machine.node == node.name, Machine.state.in_(counted)).order_by(Machine.id)
    query = query.options(joinedload(Machine.project), joinedload(Machine.image))
    return sorted(session.scalars(query), key=lambda machine: State(machine.state) not in LIVE)


def passages(session: Session, ctx: Context, node: Node) -> list[tuple[Machine, Passage]]:
    found = _machines(session, node)
    kinds = {name: facts.get("virtualisation", "") for name, facts in session.execute(select(Node.name, Node.facts))}
    others = [room for room in capacity.every_room(session, ctx) if room.name != node.name]
    rooms = [room for room in others if kinds[room.name] == kinds[node.name] and room.state == NodeState.ACTIVE.value]
    residents = _residents(session, ctx, node, found)
    taking = any(room.state == NodeState.ACTIVE.value for room in others)
    ways = plan_drain(residents, rooms, ctx.config.placement_policy, others=taking, away=_away(node))
    return list(zip(found, ways, strict=True))


def _residents(session: Session, ctx: Context, node: Node, found: Sequence[Machine]) -> list[Resident]:
    refusals, paused = _refusals(session, ctx, node), _called_off(session, ctx, node)
    images, held = _images(session, {machine.image.sha256 for machine in found}), _held(session, found)
    return [
        Resident(
            id=machine.id,
            state=State(machine.state),
            rests=rests(State(machine.state), machine.wants_running)
            and machine.grown_from is None
            and machine.id not in paused,
            ask=Ask(_demand(machine), machine.node_labels, machine.apart),
            group=f"{machine.project_id}/{machine.apart}" if machine.apart else "",
            apart_from=_apart_from(session, machine),
            image_on=images.get(machine.image.sha256, frozenset()),
            moving_to=machine.moving_to or "",
            held=held.get(machine.id),
            refusal=refusals.get(machine.id),
        )
        for machine in found
    ]


def _held(session: Session, found: Sequence[Machine]) -> dict[str, GarageError]:
    """Why machines stay, whatever room there is elsewhere."""
    return snapshots.holding(session, found) | volume_rules.holding(session, found)


def _demand(machine: Machine) -> Demand:
    return Demand(machine.vcpus, machine.memory_mib, machine.disk_gib)


def _images(session: Session, wanted: set[str]) -> dict[str, frozenset[str]]:
    query = select(NodeImage.image, NodeImage.node).where(NodeImage.image.in_(wanted), NodeImage.state == PRESENT)
    found: dict[str, set[str]] = {}
    for image, name in session.execute(query):
        found.setdefault(image, set()).add(name)
    return {image: frozenset(names) for image, names in found.items()}


def _apart_from(session: Session, machine: Machine) -> frozenset[str]:
    if not machine.apart:
        return frozenset()
    query = select(Machine.node, Machine.moving_to).where(
        Machine.project_id == machine.project_id,
        Machine.apart == machine.apart,
        Machine.id != machine.id,
        capacity.counted(),
    )
    return frozenset(name for row in session.execute(query) for name in row if name)


def _away(node: Node) -> GarageError | None:
    if not node.hypervisor_error:
        return None
    return GarageError(
        "hypervisor_away",
        N_("the hypervisor of {node} does not answer"),
        hint=N_("nothing is lost; try again when it is back"),
        node=node.name,
    )


def _refusals(session: Session, ctx: Context, node: Node) -> dict[str, GarageError]:
    """Why machines did not move at their last try, unless it is time for another one."""
    lately = max(node.state_since, ctx.clock() - RETRY)
    query = select(MoveRow).where(MoveRow.source == node.name, MoveRow.ended_at >= lately).order_by(MoveRow.id)
    last = {row.machine_id: row for row in session.scalars(query)}
    return {key: GarageError.from_dict(row.error) for key, row in last.items() if row.error}


def _called_off(session: Session, ctx: Context, node: Node) -> set[str]:
    """Machines for whose sake a move has just ended without an error: what they or their owners want gets its turn."""
    query = select(MoveRow).where(MoveRow.source == node.name, MoveRow.ended_at >= ctx.clock() - CALLED_OFF)
    return {row.machine_id for row in session.scalars(query) if row.step == STAYED and row.error is None}


def set_state(session: Session, ctx: Context, node: Node, state: NodeState) -> None:
    """Owners are told too: each of their machines is shown anew."""
    node.state, node.state_since = state.value, ctx.clock()
    session.add(EventRow(at=ctx.clock(), kind="node", project_id=None, subject=node.name, data={"state": state.value}))
    for machine in _machines(session, node):
        publish_machine(session, ctx, machine)
