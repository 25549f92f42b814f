"""Copies of machines' disks, to be fetched: a row of `image_task` of the kind "disk", a file that a worker makes, for a day."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from garage.core.states import State
from garage.db.image_models import ImageTask
from garage.db.models import Audit, Machine
from garage.errors import N_, GarageError
from garage.services import image_tasks, saving
from garage.services.context import Caller, Context, audit
from garage.services.image_quota import OPEN
from garage.services.image_tasks import Task
from garage.services.rights import machine_for

KIND = "disk"
KEPT_SECONDS = 86_400.0
"""A copy can be fetched for so long, if the machine is not started before."""
FOLDER = "downloads"
"""Below GARAGE_HOME: `ID.qcow2`, which the web process may read."""


@dataclass(frozen=True, slots=True)
class DiskCopyView:
    machine: str
    """Its id."""
    state: str
    """ "none", "waiting", "running", "failed" or "ready"."""
    step: str = ""
    done: int = 0
    total: int = 0
    """Of the step, in bytes; 0: not known."""
    bytes: int = 0
    """Of the file; 0 before it is ready."""
    sha256: str = ""
    until: float | None = None
    """When it is removed, if the machine is not started before."""
    error: dict[str, Any] | None = None

    @property
    def busy(self) -> bool:
        return self.state in OPEN


@dataclass(frozen=True, slots=True)
class DiskFile:
    """What is to be sent."""

    file: str
    """Its name in FOLDER."""
    name: str
    """As it shall be called where it arrives."""
    sha256: str


def ask(ctx: Context, caller: Caller, ref: str) -> DiskCopyView:
    """Want a copy of the disk of a machine that is stopped, also one whose lease is over; one that is there or on its way does."""
    with ctx.db.write() as session:
        machine = machine_for(session, caller, ref)
        saving.check_off(machine)
        row = _current(session, ctx, machine)
        if row is None or row.state == "failed":
            session.execute(delete(ImageTask).where(ImageTask.kind == KIND, ImageTask.machine == machine.id))
            row = image_tasks.want(session, ctx, caller, KIND, f"disk {machine.id}", "waiting", "own", None)
            row.machine = machine.id
            subject = f"{machine.name}.{machine.project.name}"
            audit(session, ctx, caller.name, "machine.disk_copy", subject, project_id=machine.project_id, id=machine.id)
        return _view(machine, row)


def get(ctx: Context, caller: Caller, ref: str) -> DiskCopyView:
    """How far it is; "none" where nobody has asked, or the machine has been started since."""
    with ctx.db.read() as session:
        machine = machine_for(session, caller, ref, reading=True)
        row = _current(session, ctx, machine)
        return _view(machine, row) if row else DiskCopyView(machine.id, "none")


def fetch(ctx: Context, caller: Caller, ref: str, *, looking: bool = False) -> DiskFile:
    """The file; raises `wrong_state` while there is none. The audit log tells once that somebody has had of it, however little, unless
    he is only `looking`."""
    with ctx.db.read() as session:
        machine = machine_for(session, caller, ref)
        row = _current(session, ctx, machine)
        if row is None or row.state != "done":
            raise GarageError(
                "wrong_state",
                N_("no copy of the disk of {name} is ready"),
                hint=N_("ask for one while the machine is stopped: garage machine download-disk {name} FILE"),
                name=machine.name,
            )
        found = DiskFile(f"{row.id}.qcow2", f"{machine.name}.qcow2", row.sha256)
        subject, project = f"{machine.name}.{machine.project.name}", machine.project_id
        new = not looking and not _told(session, caller, subject, row)
        copy = row.id
    if new:
        with ctx.db.write() as session:
            audit(
                session, ctx, caller.name, "machine.disk_fetch", subject, project_id=project, id=machine.id, copy=copy
            )
    return found


def _told(session: Session, caller: Caller, subject: str, row: ImageTask) -> bool:
    query = select(Audit.detail).where(Audit.actor == caller.name, Audit.action == "machine.disk_fetch")
    query = query.where(Audit.subject == subject, Audit.at >= row.changed_at)
    return any(detail.get("copy") == row.id for detail in session.scalars(query))


def _current(session: Session, ctx: Context, machine: Machine) -> ImageTask | None:
    """The last one, if the disk is still what was copied and its day is not over."""
    if machine.state != State.STOPPED.value:
        return None
    query = select(ImageTask).where(ImageTask.kind == KIND, ImageTask.machine == machine.id)
    row = session.scalars(query.order_by(ImageTask.id.desc()).limit(1)).first()
    if row is None or row.asked_at < saving.written_at(machine):
        return None
    return None if row.state == "done" and row.changed_at + KEPT_SECONDS <= ctx.clock() else row


def _view(machine: Machine, row: ImageTask) -> DiskCopyView:
    ready = row.state == "done"
    return DiskCopyView(
        machine.id,
        "ready" if ready else row.state,
        row.step,
        0 if ready else row.done,
        0 if ready else row.total,
        row.total if ready else 0,
        row.sha256,
        row.changed_at + KEPT_SECONDS if ready else None,
        row.error,
    )


# --- the worker's side -----------------------------------------------------------------------------------------------


def done(ctx: Context, task: Task, size: int, sha256: str) -> None:
    with ctx.db.write() as session:
        row = image_tasks.held(session, task)
        row.state, row.step, row.total, row.sha256, row.changed_at = "done", "", size, sha256, ctx.clock()


def failed(ctx: Context, task: Task, error: GarageError) -> None:
    """Told to whoever looks."""
    with ctx.db.write() as session:
        row = image_tasks.held(session, task)
        row.state, row.error, row.changed_at = "failed", error.as_dict(), ctx.clock()


def keep(ctx: Context, most: int, there: Callable[[str], bool]) -> set[str]:
    """Ids of those whose files stay, of `most` bytes together, the newest first; the others are forgotten, and so are those whose file is
    not `there` (a backup was restored): they can be asked for again."""
    with ctx.db.write() as session:
        query = select(ImageTask).where(ImageTask.kind == KIND, ImageTask.node == ctx.config.node)
        kept, total = set[str](), 0
        for row in session.scalars(query.order_by(ImageTask.changed_at.desc())):
            machine = session.get(Machine, row.machine)
            total += row.total if row.state == "done" else 0
            lost = row.state == "done" and not there(row.id)
            stale = machine is None or _current(session, ctx, machine) is not row
            if row.state not in OPEN and (stale or lost or total > most):
                session.delete(row)
            else:
                kept.add(row.id)
        return kept
