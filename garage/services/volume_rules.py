"""What may be done with volumes, and what they keep others from."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from garage.core.placement import shortfall
from garage.core.refusal import short
from garage.core.snapshots import SnapshotState
from garage.core.types import Demand
from garage.core.volumes import HELD, MOST_GIB, VolumeState
from garage.db.models import Machine, Node, Project
from garage.db.volume_models import Volume, VolumeSnapshot
from garage.errors import N_, GarageError
from garage.services import capacity, moving, volume_snapshot_notes
from garage.services.context import Context
from garage.services.volume_views import RESTS


def any_of(session: Session, project: Project) -> bool:
    return session.scalar(select(Volume.id).where(Volume.project_id == project.id).limit(1)) is not None


def holding(session: Session, machines: Iterable[Machine]) -> dict[str, GarageError]:
    """By id, why machines cannot leave their node, if that is because of their volumes."""
    named = {machine.id: machine.name for machine in machines}
    query = select(Machine.id, func.count()).join(Volume, Volume.machine_id == Machine.id).where(Machine.id.in_(named))
    return {
        machine_id: GarageError(
            "in_use",
            N_("{name} has volumes, which lie on its node (how many: {count})"),
            hint=N_("it can move when its owner has detached them: garage volume detach"),
            name=named[machine_id],
            count=count,
        )
        for machine_id, count in session.execute(query.group_by(Machine.id))
    }


def check_none_attached(session: Session, machine: Machine) -> None:
    """Raises `in_use` before a machine goes where its volumes do not."""
    name = session.scalar(select(Volume.name).where(Volume.machine_id == machine.id).order_by(Volume.slot).limit(1))
    if name is not None:
        raise GarageError(
            "in_use",
            N_("{machine} has the volume {volume}, which belongs to the project {project}"),
            hint=N_("detach it first: garage volume detach {volume}"),
            machine=machine.name,
            volume=name,
            project=machine.project.name,
        )


def check_none_on(session: Session, node: Node) -> None:
    """Raises `in_use` while a node has volumes that nobody has deleted."""
    where = Volume.node == node.name, Volume.state != VolumeState.DELETING.value
    if count := session.scalar(select(func.count()).where(*where)):
        raise GarageError(
            "in_use",
            N_("there are volumes on {node} (how many: {count})"),
            hint=N_("their owners can delete them: garage volume delete"),
            node=node.name,
            count=count,
        )


def forget_node(session: Session, node: str) -> None:
    """Its node is none any more: what was to be deleted there is gone with it."""
    for row in session.scalars(select(Volume).where(Volume.node == node)):
        volume_snapshot_notes.bury(session, row)
    session.flush()


def check_may_have(row: Volume, machine: Machine) -> None:
    """Raises where the machine is of another project or on another node, on its way, or neither ready nor off."""
    check_same(row.project, machine)
    moving.check_stays(machine)
    check_rests(machine)
    if row.node != machine.node:
        raise GarageError(
            "wrong_state",
            N_("the volume {volume} is on {node}, and {machine} on {other}"),
            hint=N_("make one beside it: garage volume create NAME --size GIB --machine {machine}"),
            volume=row.name,
            node=row.node,
            machine=machine.name,
            other=machine.node,
        )


def check_same(project: Project, machine: Machine) -> None:
    if project.id != machine.project_id:
        raise GarageError(
            "invalid_field",
            N_("{machine} is not of the project {project}, to which the volume belongs"),
            hint=N_("take a machine of that project"),
            pointer="/machine",
            machine=machine.name,
            project=project.name,
        )


def check_rests(machine: Machine) -> None:
    if machine.state not in RESTS:
        raise GarageError(
            "wrong_state",
            N_("{name} is {state}; its volumes can be changed while it is ready or off"),
            hint=N_("wait until it is one of them"),
            name=machine.name,
            state=machine.state,
        )


def check_size(size_gib: int, least: int) -> None:
    if not least <= size_gib <= MOST_GIB:
        raise GarageError(
            "invalid_field",
            N_("a volume has {least} to {most} GiB"),
            hint=N_("it can grow later, and never shrinks"),
            pointer="/size_gib",
            least=least,
            most=MOST_GIB,
        )


def check_free(session: Session, project: Project, name: str) -> None:
    if session.scalar(select(Volume.id).where(Volume.project_id == project.id, Volume.name == name)):
        raise GarageError(
            "already_exists",
            N_("{project} has a volume named {name} already"),
            hint=N_("take another name, or delete that one first"),
            pointer="/name",
            project=project.name,
            name=name,
        )


def check_room(session: Session, ctx: Context, node: str, more_gib: int) -> None:
    room, demand = capacity.room_of(session, ctx, node), Demand(0, 0, more_gib)
    if more_gib and shortfall(room, demand) is not None:
        raise short(room, demand)


def check_available(session: Session, row: Volume) -> None:
    """Raises unless a machine can be given it."""
    if row.state != VolumeState.AVAILABLE.value:
        hint = N_("wait until it is available, or detach it first: garage volume detach {name}")
        raise wrong(session, row, hint)
    check_not_copied(session, row)


def check_not_copied(session: Session, row: Volume) -> None:
    """Raises `wrong_state` while a copy of it may be under way, one that was called off included."""
    making = VolumeSnapshot.state == SnapshotState.MAKING.value
    called_off = and_(VolumeSnapshot.state == SnapshotState.DELETING.value, VolumeSnapshot.made_at.is_(None))
    query = select(VolumeSnapshot.id).where(VolumeSnapshot.volume_id == row.id, or_(making, called_off))
    if session.scalar(query.limit(1)):
        raise GarageError(
            "wrong_state",
            N_("a snapshot of {name} is being made"),
            hint=N_("wait until it is there, or delete it"),
            name=row.name,
        )


def check_grown(row: Volume) -> None:
    if row.made_gib < row.size_gib:
        raise GarageError(
            "wrong_state", N_("the volume {name} is growing"), hint=N_("wait until that is done"), name=row.name
        )


def wrong(session: Session, row: Volume, hint: str) -> GarageError:
    if row.machine_id is not None and row.state in HELD:
        return in_use(session, row)
    text = N_("the volume {name} is {state}")
    return GarageError("wrong_state", text, hint=hint, name=row.name, state=row.state)


def in_use(session: Session, row: Volume) -> GarageError:
    return GarageError(
        "in_use",
        N_("{machine} has the volume {name}"),
        hint=N_("detach it first: garage volume detach {name}"),
        machine=session.get_one(Machine, row.machine_id).name,
        name=row.name,
    )
