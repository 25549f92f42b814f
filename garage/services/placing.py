"""Placing machines: the rooms that may be chosen come from the database, the choice is `core.placement`'s.

A fleet has thousands of nodes and a request needs one. So the database hands over only the best few by placement's own formula; more than
are placed at once can never be needed, since placing a machine changes the score of its own node alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, literal, select, text
from sqlalchemy.orm import Session

from garage.config import Config
from garage.core.placement import IMAGE, Ask, Decision, Room, place
from garage.core.refusal import refusal, too_many
from garage.core.types import Demand
from garage.db.models import Image, Machine, Node, Size
from garage.db.node_models import NodeImage, NodeLoad
from garage.services import capacity
from garage.services.context import Context

SPARE = text("machine.state = 'spare'")
"""As the partial index says it."""
PRESENT = "present"


@dataclass(frozen=True, slots=True)
class Order:
    """Some equal machines that are to be placed; what they boot and how large they are decides which nodes start them quickest."""

    project_id: str
    image: Image
    size: Size
    labels: Mapping[str, str] = field(default_factory=dict)
    apart: str = ""
    early: Sequence[str] = ()
    """What of their user-data has to be there at the first boot (`core.late`); without any they may come out of a pool."""
    node: str = ""
    """Where they have to be, since their volumes are there; empty: anywhere."""

    @property
    def ask(self) -> Ask:
        size = self.size
        return Ask(Demand(size.vcpus, size.memory_mib, size.disk_gib), self.labels, self.apart)


@dataclass(frozen=True, slots=True)
class Placed:
    """One machine's node, and what `explain` will tell of it."""

    node: str
    warm: bool
    """One that waits there is to be taken."""
    why: dict[str, Any]


def choose(session: Session, ctx: Context, order: Order, count: int = 1) -> list[Placed]:
    """A node for each of `count` machines; raises `no_capacity`, `disk_full` or `unavailable` when there is not one for all."""
    rooms, fitting = candidates(session, ctx.config, order, count)
    policy = ctx.config.placement_policy
    decisions = place(rooms, order.ask, policy, count)
    if len(decisions) < count:
        raise _refused(session, ctx, order, len(decisions), count)
    return [Placed(each.chosen.node, each.room.warm > 0, record(each, policy, fitting)) for each in decisions]


def record(decision: Decision, policy: str, fitting: int) -> dict[str, Any]:
    """What is kept with the machine: the policy, how many nodes fitted, the score's parts, and the second best."""
    why = {"policy": policy, "fitting": fitting, "parts": _rounded(decision.chosen.parts)}
    if (second := decision.second) is not None:
        why["second"] = {"node": second.node, "parts": _rounded(second.parts)}
    return why


def _rounded(parts: Sequence[tuple[str, float]]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in parts}


def _refused(session: Session, ctx: Context, order: Order, possible: int, count: int) -> Exception:
    if possible:
        return too_many(possible, count)
    stoppable = capacity.stoppable(session, order.project_id)
    return refusal(every_room(session, ctx, order), order.ask, stoppable=stoppable)


def every_room(session: Session, ctx: Context, order: Order, *, without: Machine | None = None) -> list[Room]:
    """All nodes with all that placement looks at, as if machine `without` were not there. Costs as much as there are nodes."""
    images, waiting = _images(session, order), _waiting(session, order)
    apart = _kept_apart(session, order, without)
    rooms = [
        replace(room, image=room.name in images, warm=waiting.get(room.name, 0), kept_apart=room.name in apart)
        for room in capacity.every_room(session, ctx)
        if order.node in ("", room.name)
    ]
    if without is None:
        return rooms
    return [capacity.room_without(room, without) if room.name == without.node else room for room in rooms]


def has_room(session: Session, config: Config, order: Order) -> bool:
    """Whether one such machine could be placed now."""
    query = _best(_shape(config, order), (), None).with_only_columns(NodeLoad.node)
    if session.scalar(query.order_by(None).limit(1)) is not None:
        return True
    there = tuple(sorted(_waiting(session, order)))
    query = _best(_shape(config, order), (), there).with_only_columns(NodeLoad.node)
    return bool(there) and session.scalar(query.order_by(None).limit(1)) is not None


def candidates(session: Session, config: Config, order: Order, count: int) -> tuple[list[Room], int]:
    """The best rooms for `count` machines, one more to compare with, and how many nodes fit in all."""
    waiting, apart = _waiting(session, order), tuple(sorted(_kept_apart(session, order)))
    shape = _shape(config, order)
    found = list(session.execute(_best(shape, apart, None).limit(count + 1)))
    if waiting:
        found += session.execute(_best(shape, apart, tuple(sorted(waiting))).limit(count + 1))
    rows = {row.node: row for row in found}
    rooms = [
        replace(capacity.room_from(config, row), image=bool(row.image), warm=waiting.get(node, 0))
        for node, row in rows.items()
    ]
    return rooms, max(found[0].fitting, len(rooms)) if found else 0


@dataclass(frozen=True, slots=True)
class _Shape:
    """All on which the queries depend, so that they are built once: that costs more than running them."""

    size: Demand
    image: str
    labels: tuple[tuple[str, str], ...]
    policy: str
    ram_reserve_mib: int
    disk_reserve_gib: float
    vcpu_overcommit: float
    disk_overcommit: float
    node: str


def _shape(config: Config, order: Order) -> _Shape:
    return _Shape(
        order.ask.demand,
        order.image.sha256,
        tuple(sorted(order.labels.items())),
        config.placement_policy,
        config.ram_reserve_mib,
        config.disk_reserve_mib / 1024,
        config.vcpu_overcommit,
        config.disk_overcommit,
        order.node,
    )


@lru_cache(256)
def _best(shape: _Shape, apart: tuple[str, ...], warm: tuple[str, ...] | None) -> Select[Any]:
    """Nodes that fit, but those in `apart`, the best first: any, or of those in `warm`, which need no more disk."""
    fits = [*_takes(shape), *([NodeLoad.node.not_in(apart)] if apart else [])]
    fits.append(_disk_fits(shape) if warm is None else NodeLoad.node.in_(warm))
    fitting = select(func.count()).select_from(NodeLoad).join(Node, Node.name == NodeLoad.node).where(*fits)
    query = select(*capacity.ROOMS, _image(shape).label("image"), fitting.scalar_subquery().label("fitting"))
    query = query.join(Node, Node.name == NodeLoad.node).where(*fits)
    ordered: Select[Any] = query.order_by(_score(shape).desc(), NodeLoad.node)  # type: ignore[assignment]
    return ordered


def _takes(shape: _Shape) -> tuple[ColumnElement[bool], ...]:
    """`core.placement` as conditions: the node takes machines, and there is RAM, vCPU and enough free disk."""
    size, row = shape.size, NodeLoad
    return (
        row.takes.is_(True),
        row.disk_free_gib >= shape.disk_reserve_gib,
        _free_memory(shape) >= size.memory_mib,
        row.used_vcpus + size.vcpus <= row.vcpus * shape.vcpu_overcommit,
        *(Node.labels[key].as_string() == value for key, value in shape.labels),
        *((row.node == shape.node,) if shape.node else ()),
    )


def _disk_fits(shape: _Shape) -> ColumnElement[bool]:
    """What a machine that waits has already."""
    most = (NodeLoad.disk_total_gib - shape.disk_reserve_gib) * shape.disk_overcommit
    return NodeLoad.used_disk_gib + shape.size.disk_gib <= most


def _free_memory(shape: _Shape) -> ColumnElement[int]:
    unpromised = NodeLoad.memory_mib - NodeLoad.used_memory_mib
    available = func.coalesce(NodeLoad.available_mib, unpromised)
    return case((available < unpromised, available), else_=unpromised) - shape.ram_reserve_mib


def _score(shape: _Shape) -> ColumnElement[Any]:
    """`core.placement`'s score without a pool's part."""
    free = (_free_memory(shape) - shape.size.memory_mib) * 1.0 / NodeLoad.memory_mib
    policy = 1.0 - free if shape.policy == "pack" else free
    return policy + case((_image(shape), literal(IMAGE)), else_=literal(0.0))


def _image(shape: _Shape) -> ColumnElement[bool]:
    here = select(NodeImage.node).where(NodeImage.image == shape.image, NodeImage.state == PRESENT)
    return NodeLoad.node.in_(here)


def _images(session: Session, order: Order) -> set[str]:
    where = NodeImage.image == order.image.sha256, NodeImage.state == PRESENT
    return set(session.scalars(select(NodeImage.node).where(*where)))


def _waiting(session: Session, order: Order) -> dict[str, int]:
    """How many machines of exactly the kind wait on which node."""
    if order.early:
        return {}
    query = select(Machine.node, func.count()).where(*of_kind(order.image, order.size)).group_by(Machine.node)
    return dict(session.execute(query).all())


def of_kind(image: Image, size: Size) -> tuple[ColumnElement[bool], ...]:
    """A condition on machines: one that waits and is exactly what such a request would make."""
    kind = Machine.image_id == image.id, Machine.size == size.name
    return (SPARE, *kind, Machine.warm, Machine.memory_mib == size.memory_mib, Machine.vcpus == size.vcpus)  # type: ignore[return-value]


def _kept_apart(session: Session, order: Order, without: Machine | None = None) -> set[str]:
    """Nodes that have, or are about to have, a machine of the project with the same word."""
    if not order.apart:
        return set()
    query = select(Machine.node, Machine.moving_to).where(
        Machine.project_id == order.project_id, capacity.EXISTS, Machine.apart == order.apart, capacity.counted()
    )
    if without is not None:
        query = query.where(Machine.id != without.id)
    return {node for row in session.execute(query) for node in row if node is not None}
