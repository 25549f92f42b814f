"""Room on nodes and in quotas. A node's sums are kept by the database's own triggers (`db/loads.py`), a project's are summed up anew."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, func, select, text
from sqlalchemy.orm import Session

from garage.config import Config
from garage.core.placement import Room
from garage.core.states import COUNTED, RUNNING, State
from garage.core.types import Demand, NodeFacts
from garage.db.models import Machine, Node, Project, Size
from garage.db.node_models import NodeLoad
from garage.db.snapshot_models import Snapshot
from garage.db.volume_models import Volume, VolumeSnapshot
from garage.errors import N_, GarageError
from garage.services import image_quota
from garage.services.context import Context
from garage.services.views import UsageView, quota_of

_COUNTED = [state.value for state in COUNTED]
_RUNNING = [state.value for state in RUNNING]
EXISTS = text("machine.state != 'gone'")
"""As the partial indexes say it: SQLite uses one only where the query has its condition word for word, not as a parameter."""


THINGS = ("machines", "vcpus", "memory_mib", "disk_gib")


def usage(session: Session, project: Project) -> UsageView:
    """What the project's machines (stopped ones, too), its volumes, the snapshots of both and its people's images hold of its quota."""
    return usages(session, [project])[project.id]


def usages(session: Session, projects: Sequence[Project]) -> dict[str, UsageView]:
    """The same of several by their ids, in as many queries as for one."""
    ids = [project.id for project in projects]
    used = {key: dict.fromkeys(THINGS, 0) for key in ids}
    where = Machine.project_id.in_(ids), EXISTS, Machine.state.in_(_COUNTED)
    sums = func.count(), func.sum(Machine.vcpus), func.sum(Machine.memory_mib), func.sum(Machine.disk_gib)
    for key, *row in session.execute(select(Machine.project_id, *sums).where(*where).group_by(Machine.project_id)):
        used[str(key)] = dict(zip(THINGS, map(int, row), strict=True))
    kept = select(Machine.project_id, func.sum(Snapshot.held_gib)).join(Machine, Machine.id == Snapshot.machine_id)
    volumes = select(Volume.project_id, func.sum(Volume.size_gib))
    of_volumes = select(Volume.project_id, func.sum(VolumeSnapshot.held_gib))
    of_volumes = of_volumes.join(VolumeSnapshot, VolumeSnapshot.volume_id == Volume.id)
    disks = [each.where(Volume.project_id.in_(ids)).group_by(Volume.project_id) for each in (volumes, of_volumes)]
    for query in (kept.where(*where).group_by(Machine.project_id), *disks):
        for key, gib in session.execute(query):
            used[str(key)]["disk_gib"] += int(gib)
    for key, size in image_quota.held_each(session, projects).items():
        used[key]["image_gib"] = image_quota.gib(size)
    return {project.id: UsageView(used[project.id], quota_of(project)) for project in projects}


def check_quota(session: Session, project: Project, size: Size, count: int = 1) -> None:
    """Raises `quota_exceeded` naming the first thing of which there is too little for `count` machines."""
    asked = {"machines": 1, "vcpus": size.vcpus, "memory_mib": size.memory_mib, "disk_gib": size.disk_gib}
    check_growth(session, project, {what: count * amount for what, amount in asked.items()})


def check_growth(session: Session, project: Project, more: Mapping[str, int]) -> None:
    """The same for so much of each thing; what becomes less is always possible."""
    now = usage(session, project)
    for what, amount in more.items():
        if amount > 0 and (would := now.used[what] + amount) > now.quota[what]:
            names = ", ".join(_names(session, project.id)[:3])
            ask = N_("take a smaller size, or ask an admin for more")
            raise GarageError(
                "quota_exceeded",
                N_("{project} would use {would} of {quota} {what}"),
                hint=N_("delete a machine you no longer need ({names}), or ask an admin for more") if names else ask,
                project=project.name, would=would, quota=now.quota[what], what=what, names=names,
            )  # fmt: skip


def rooms(session: Session, ctx: Context) -> list[Room]:
    """Every node that answers now: its facts are known and its hypervisor is not away. Whether it takes machines is placement's
    question."""
    where = Node.hypervisor_error == "", NodeLoad.vcpus > 0
    return [room_from(ctx.config, row) for row in session.execute(_ROOMS.where(*where).order_by(Node.name))]


def every_room(session: Session, ctx: Context, names: Collection[str] | None = None) -> list[Room]:
    """Those that do not answer, too; with `names` only theirs."""
    query = _ROOMS if names is None else _ROOMS.where(NodeLoad.node.in_(names))
    return [room_from(ctx.config, row) for row in session.execute(query.order_by(Node.name))]


def room_of(session: Session, ctx: Context, name: str, *, without: Machine | None = None) -> Room:
    """One node's room, as if machine `without` were not there; raises `hypervisor_away` where it cannot be asked."""
    row = session.execute(_ROOMS.where(NodeLoad.node == name, Node.hypervisor_error == "", NodeLoad.vcpus > 0)).first()
    if row is None:
        raise GarageError(
            "hypervisor_away",
            N_("the hypervisor of {node} does not answer"),
            hint=N_("nothing is lost; try again when it is back"),
            node=name,
        )
    room = room_from(ctx.config, row)
    return room if without is None else room_without(room, without)


def room_without(room: Room, machine: Machine) -> Room:
    """As if the machine were not on its node."""
    if machine.state not in _COUNTED:
        return room
    used, runs = room.used, int(machine.state in _RUNNING)
    vcpus, memory = used.vcpus - runs * machine.vcpus, used.memory_mib - runs * machine.memory_mib
    return replace(room, used=Demand(vcpus, memory, used.disk_gib - machine.disk_gib))


ROOMS = (
    NodeLoad.node,
    NodeLoad.vcpus,
    NodeLoad.memory_mib,
    NodeLoad.disk_free_gib,
    NodeLoad.disk_total_gib,
    NodeLoad.available_mib,
    NodeLoad.used_vcpus,
    NodeLoad.used_memory_mib,
    NodeLoad.used_disk_gib,
    Node.state,
    Node.silent_since,
    Node.hypervisor_error,
    Node.labels,
)
"""What a room is made of. Columns, not entities: what the triggers write is never in a session's identity map."""
_ROOMS = select(*ROOMS).join(Node, Node.name == NodeLoad.node)


def counted() -> ColumnElement[bool]:
    """A condition on machines: it uses quota and disk."""
    return Machine.state.in_(_COUNTED)


def room_from(config: Config, row: Any) -> Room:
    """From a row of `ROOMS`."""
    return Room(
        name=row.node,
        facts=NodeFacts(row.vcpus, row.memory_mib, row.disk_free_gib, row.disk_total_gib, "", row.available_mib),
        used=Demand(row.used_vcpus, row.used_memory_mib, row.used_disk_gib),
        ram_reserve_mib=config.ram_reserve_mib,
        disk_reserve_gib=config.disk_reserve_mib / 1024,
        vcpu_overcommit=config.vcpu_overcommit,
        disk_overcommit=config.disk_overcommit,
        known=row.vcpus > 0,
        state=row.state,
        silent=row.silent_since is not None,
        away=row.hypervisor_error != "",
        labels=row.labels,
    )


def stoppable(session: Session, project_id: str) -> list[str]:
    """Names of the project's running machines, the oldest first: what its members could stop to make room."""
    query = (
        select(Machine.name)
        .where(Machine.project_id == project_id, EXISTS, Machine.state == State.READY.value)
        .order_by(Machine.id)
    )
    return list(session.scalars(query))


def _names(session: Session, project_id: str) -> list[str]:
    query = (
        select(Machine.name)
        .where(Machine.project_id == project_id, EXISTS, Machine.state.in_(_COUNTED))
        .order_by(Machine.id)
    )
    return list(session.scalars(query))
