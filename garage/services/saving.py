"""A machine's disk as an image of its own, without its identity: a row of `image_task`, which a worker of the controller's server does."""

from __future__ import annotations

from dataclasses import dataclass

from garage.core import image_files
from garage.core.changes import Redo
from garage.core.snapshots import SnapshotState
from garage.core.states import State
from garage.core.types import NodeAccess
from garage.db.models import Image, Machine, Node
from garage.db.snapshot_models import Snapshot
from garage.errors import N_, GarageError
from garage.services import image_quota, image_tasks, images, moving, snapshot_rules, snapshots
from garage.services.context import Caller, Context, audit
from garage.services.image_tasks import Task, TaskView
from garage.services.rights import machine_for

ENDED = (State.LOST.value, State.DELETING.value, State.GONE.value)


@dataclass(frozen=True, slots=True)
class NewSave:
    """An image of a machine that is off, or of one of its snapshots."""

    name: str
    snapshot: str = ""
    visibility: str = "own"
    project: str | None = None
    """With visibility "project"; None: the machine's."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the disk is, as a worker finds it. The same place twice: nobody has written to it in between."""

    node: NodeAccess
    machine: str
    snapshot: str
    image: str
    """The sha256 of what it lies on."""
    since: float
    """When the machine went off; of a snapshot, when it was made."""


def save(ctx: Context, caller: Caller, ref: str, wanted: NewSave) -> TaskView:
    """Want an image of a machine. It stays as it is; nothing by which it is known comes along."""
    name = image_files.check_name(wanted.name)
    with ctx.db.write() as session:
        machine = machine_for(session, caller, ref)
        snapshot = snapshots.find(session, machine, wanted.snapshot, pointer="/snapshot") if wanted.snapshot else None
        _check(machine, snapshot)
        check_size(machine, snapshot.disk_gib if snapshot else machine.disk_gib)
        project = wanted.project
        if wanted.visibility == "project" and project is None:
            project = machine.project.name
        project_id = images.scope(session, caller, name, wanted.visibility, project)
        row = image_tasks.want(session, ctx, caller, "save", name, "waiting", wanted.visibility, project_id)
        image_quota.reserve(session, row)
        row.machine, row.snapshot = machine.id, snapshot.id if snapshot else ""
        subject = f"{machine.name}.{machine.project.name}"
        audit(
            session,
            ctx,
            caller.name,
            "image.save",
            subject,
            project_id=machine.project_id,
            image=name,
            visibility=wanted.visibility,
        )
        return image_tasks.view_of(session, row)


def check_size(machine: Machine, disk_gib: int) -> None:
    if disk_gib > image_files.MOST_SAVED_GIB:
        raise GarageError(
            "too_large",
            N_("the disk of {name} has {has} GiB; an image may have {limit}"),
            hint=N_("fetch the disk itself: garage machine download-disk {name} FILE"),
            name=machine.name,
            has=disk_gib,
            limit=image_files.MOST_SAVED_GIB,
        )


def place_of(ctx: Context, task: Task) -> Place:
    """For the worker; raises `wrong_state`, `not_found` or `version_conflict` where it cannot be done (any more)."""
    with ctx.db.read() as session:
        row = image_tasks.held(session, task)
        machine = session.get(Machine, task.machine)
        if machine is None:  # its node was taken out of the garage
            raise GarageError("not_found", N_("the machine is not there any more"))
        snapshot = session.get(Snapshot, task.snapshot) if task.snapshot else None
        if task.snapshot and snapshot is None:
            raise GarageError("not_found", N_("the snapshot of {name} is not there any more"), name=machine.name)
        _check(machine, snapshot)
        node = session.get_one(Node, machine.node)
        access = NodeAccess(node.name, node.hypervisor, node.address, node.ssh_host_key)
        image_id = snapshot.image_id if snapshot else machine.image_id
        since = (snapshot.made_at or 0.0) if snapshot else written_at(machine)
        if snapshot is None and row.asked_at < since:  # by somebody, who may not be of those who have asked
            raise started_meanwhile()
        return Place(access, machine.id, task.snapshot, session.get_one(Image, image_id).sha256, since)


def written_at(machine: Machine) -> float:
    """When the disk of one that is off became what it is: since then nobody writes to it."""
    return max(machine.state_since, machine.reverted_at or 0.0)


def started_meanwhile() -> GarageError:
    return GarageError(
        "wrong_state",
        N_("the machine was started, or returned to a snapshot, before its disk was copied"),
        hint=N_("stop it, and ask again"),
    )


def _check(machine: Machine, snapshot: Snapshot | None) -> None:
    """Raises `wrong_state`."""
    if snapshot is None:
        check_off(machine)
    else:
        _check_there(machine, snapshot)


def _check_there(machine: Machine, snapshot: Snapshot) -> None:
    moving.check_stays(machine)
    if snapshot.state != SnapshotState.READY.value or machine.state in ENDED:
        raise snapshot_rules.not_ready(machine.name, snapshot.name, snapshots.LIST)


def check_off(machine: Machine) -> None:
    """Its disk is written by nobody."""
    moving.check_stays(machine)
    if machine.state != State.STOPPED.value or machine.wants_running:
        raise GarageError(
            "wrong_state",
            N_("{name} is {state}; its disk can be taken only while it is stopped"),
            hint=N_("stop it first: garage machine stop {name}"),
            name=machine.name,
            state=machine.state,
        )
    if machine.redo in (Redo.DISK.value, Redo.REVERT.value):
        raise GarageError(
            "wrong_state",
            N_("{name} is to get another disk"),
            hint=N_("wait until that is done, or start it"),
            name=machine.name,
        )
