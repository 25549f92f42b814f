"""How far a machine may grow while it runs: decided by its row when its domain is made anew, so that the row says what the domain has."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from garage.core.growth import ceilings
from garage.core.states import Event, State
from garage.db.models import Machine, Size
from garage.db.node_models import NodeLoad

_OFF = (State.STOPPED, State.FAILED)


def made_anew(before: State, event: Event) -> bool:
    """After this event its domain is defined before it starts. One that is paused goes on as it is."""
    return event in (Event.PLACED, Event.REBUILD) or (event is Event.START and before in _OFF)


def give(session: Session, machines: Sequence[Machine]) -> None:
    """As far as the largest size goes, memory only as far as its node has it."""
    if not machines:
        return
    with session.no_autoflush:
        vcpus, memory = session.execute(select(func.max(Size.vcpus), func.max(Size.memory_mib))).one()
        names = {machine.node for machine in machines}
        query = select(NodeLoad.node, NodeLoad.memory_mib).where(NodeLoad.node.in_(names))
        nodes: dict[str, int] = {row.node: row.memory_mib for row in session.execute(query)}
    for machine in machines:
        largest = (vcpus or 0, memory or 0)
        most = ceilings(machine.vcpus, machine.memory_mib, largest, nodes.get(machine.node, 0))
        machine.most_vcpus, machine.most_memory_mib = most
