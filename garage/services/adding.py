"""Servers become nodes, and cease to be some: what is wanted is a row, which a worker carries out step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from garage.core import names
from garage.core.node_states import NodeState
from garage.core.node_steps import percent
from garage.core.ssh_target import key_fingerprint, parse_host_key, parse_target
from garage.core.states import State
from garage.core.types import NodeAccess, NodeFacts
from garage.db.models import EventRow, Machine, Node
from garage.db.node_models import NodeCertificate, NodeTask
from garage.db.overlay_models import Site, SiteNode
from garage.errors import N_, GarageError
from garage.services import drains, invitations, own_site, registry, volume_rules
from garage.services.context import Caller, Context, audit
from garage.services.draining import set_state
from garage.services.overlay_state import lock
from garage.services.rights import require_admin, require_reader
from garage.services.specs import raise_specs
from garage.services.vault import digest

SSH_KEY = Path("keys", "node-ssh")
"""Below GARAGE_HOME: the controller's own SSH key, root's alone; its public part, beside it, is everybody's."""
DEAD_AFTER = 20.0
"""Seconds without a word of the worker that carries a task out; each step says something every few seconds."""
BUSY = ("waiting", "running")


@dataclass(frozen=True, slots=True)
class TaskView:
    """A server on its way; `percent` of the whole."""

    name: str
    kind: str
    address: str
    fingerprint: str
    state: str
    step: str
    percent: int
    said: str
    findings: list[dict[str, Any]]
    error: dict[str, Any] | None
    asked_by: str
    asked_at: float


@dataclass(frozen=True, slots=True)
class Task:
    """As a worker has it."""

    name: str
    kind: str
    address: str
    host_key: str
    worker: str


def public_key(ctx: Context, caller: Caller) -> str:
    """The line for a server's authorized_keys."""
    require_admin(caller)
    path = ctx.config.home / SSH_KEY.with_name(f"{SSH_KEY.name}.pub")
    try:
        return path.read_text().strip()
    except OSError:
        raise GarageError(
            "config", N_("{path} cannot be read"), hint=N_("run “make up” first"), path=str(path)
        ) from None


def controller_url(ctx: Context) -> str:
    """By which nodes reach this controller. Raises `wrong_state` while it listens on its own server alone."""
    known = (ctx.config.public_url.rstrip("/"), ctx.config.outside)
    found = [url for url in known if url and (urlsplit(url).hostname or "") not in invitations.HERE]
    if not found or not found[0].startswith("https://"):
        raise GarageError(
            "wrong_state",
            N_("this garage listens on its own server alone: no other server could reach it"),
            hint=N_("GARAGE_LISTEN=0.0.0.0:8443 make up, then again"),
        )
    return found[0]


def let_in(ctx: Context, caller: Caller, address: str, host_key: str) -> None:
    """Note that a server lets the controller's key in now."""
    with ctx.db.write() as session:
        audit(session, ctx, caller.name, "node.let_in", address[:128], host_key=key_fingerprint(host_key))


def ask(
    ctx: Context, caller: Caller, target: str, host_key: str, *, name: str | None = None, own_name: str | None = None
) -> TaskView:
    """Want the server at `target` as a node, known by `host_key`, which somebody has compared. Repeating it goes on where it stopped.

    `own_name`: of this garage's site, asked for once, since its nodes find each other as a site of the overlay.
    """
    require_admin(caller)
    address, key = str(parse_target(target)), parse_host_key(host_key)
    controller_url(ctx)
    with ctx.db.write() as session:
        lock(session)
        chosen = _check_name(session, address, name)
        _check_free(session, chosen, address, key)
        if not own_site.is_elsewhere(session):
            invitations.enrol_own(session, ctx, caller, own_name)
        row = want(session, ctx, caller.name, chosen, "add", address, key)
        audit(session, ctx, caller.name, "node.add", chosen, address=address, host_key=key_fingerprint(key))
        return _view(row)


def _check_name(session: Session, address: str, name: str | None) -> str:
    """The name asked for, that of a node at this very address, or the next free nodeN."""
    if name is not None:
        return names.check_label(name, field="name")
    for table in (Node, NodeTask):
        if known := session.scalar(select(table.name).where(table.address == address)):
            return known
    taken = {*session.scalars(select(Node.name)), *session.scalars(select(NodeTask.name))}
    return next(free for number in range(2, len(taken) + 3) if (free := f"node{number}") not in taken)


def _check_free(session: Session, name: str, address: str, key: str) -> None:
    """Raises `already_exists`, `in_use`, or `wrong_state` for a known node that shows another key."""
    node, task = session.get(Node, name), session.get(NodeTask, name)
    if node is not None and node.address != address:
        hint = N_("give another one with --name")
        raise GarageError("already_exists", N_("there is a node {name} already"), hint=hint, pointer="/name", name=name)
    other = select(Node.name).where(Node.name != name, or_(Node.address == address, Node.ssh_host_key == key))
    if found := session.scalar(other):
        text, hint = N_("this server is node {name} already"), N_("“garage node list” shows it")
        raise GarageError("already_exists", text, hint=hint, pointer="/target", name=found)
    if node is not None and node.ssh_host_key != key:
        hint = N_("somebody may be in between; if it was installed anew: garage node remove {name}, then add it again")
        text = N_("node {name} shows another SSH host key than the one that was pinned")
        raise GarageError("wrong_state", text, hint=hint, pointer="/host_key", name=name)
    if task is not None and task.state in BUSY:
        raise GarageError(
            "in_use", N_("node {name} is being worked on"), hint=N_("wait until that has ended"), name=name
        )


def want(session: Session, ctx: Context, who: str, name: str, kind: str, address: str, key: str) -> NodeTask:
    """The task's row, anew."""
    now = ctx.clock()
    row = session.get(NodeTask, name) or NodeTask(name=name)
    row.kind, row.address, row.host_key, row.asked_by = kind, address, key, who
    row.state, row.step, row.percent, row.said, row.worker = "waiting", "", 0, "", ""
    row.findings, row.error, row.asked_at, row.changed_at = [], None, now, now
    row.made = bool(row.made)
    session.add(row)
    session.flush()
    _publish(session, ctx, name)
    return row


def remove(ctx: Context, caller: Caller, name: str) -> TaskView:
    """Want a node to be none any more. Raises `in_use` while machines are on it or come to it, `wrong_state` for the controller's own."""
    require_admin(caller)
    with ctx.db.write() as session:
        node, task = session.get(Node, name), session.get(NodeTask, name)
        if node is None and task is None:
            raise _unknown(name)
        if node is not None and not node.address:
            text, hint = N_("{name} is the controller's own server"), N_("“make purge” removes the whole garage")
            raise GarageError("wrong_state", text, hint=hint, name=name)
        if task is not None and task.state in BUSY:
            hint = N_("wait until that has ended")
            raise GarageError("in_use", N_("node {name} is being worked on"), hint=hint, name=name)
        if node is not None:
            drains.check_empty(session, node)
            set_state(session, ctx, node, NodeState.MAINTENANCE)
        address, key = (node.address, node.ssh_host_key) if node else (task.address, task.host_key)  # type: ignore[union-attr]
        row = want(session, ctx, caller.name, name, "remove", address, key)
        audit(session, ctx, caller.name, "node.remove", name)
        return _view(row)


def listing(ctx: Context, caller: Caller) -> list[TaskView]:
    """Those that go on, and the last of each that has ended."""
    require_reader(caller)
    with ctx.db.read() as session:
        return [_view(row) for row in session.scalars(select(NodeTask).order_by(NodeTask.name))]


def get(ctx: Context, caller: Caller, name: str) -> TaskView:
    require_reader(caller)
    with ctx.db.read() as session:
        if row := session.get(NodeTask, name):
            return _view(row)
    raise _unknown(name)


def _unknown(name: str) -> GarageError:
    return GarageError(
        "not_found", N_("there is no node {name}"), hint=N_("“garage node list” shows them"), name=name[:64]
    )


def _view(row: NodeTask) -> TaskView:
    same = ("name", "kind", "address", "state", "step", "percent", "said", "findings", "error", "asked_by", "asked_at")
    return TaskView(fingerprint=key_fingerprint(row.host_key), **{name: getattr(row, name) for name in same})


def _publish(session: Session, ctx: Context, name: str) -> None:
    row = session.get_one(NodeTask, name)
    data = {"task": row.kind, "state": row.state, "step": row.step, "percent": row.percent}
    session.add(EventRow(at=ctx.clock(), kind="node", project_id=None, subject=name, data=data))


# --- the worker's side ---------------------------------------------------------------------------------------------


def claim(ctx: Context, worker: str, *, ended: Callable[[str], bool] = lambda _: False) -> Task | None:
    """The next task that nobody works on; its steps are begun anew, and find what is done. `ended`: whether it is known of a worker that
    it lives no more."""
    now = ctx.clock()
    _release(ctx, ended)
    dead = (NodeTask.state == "running") & (NodeTask.changed_at < now - DEAD_AFTER)
    with ctx.db.read() as session:
        if session.scalar(select(NodeTask.name).where(or_(NodeTask.state == "waiting", dead)).limit(1)) is None:
            return None
    with ctx.db.write() as session:
        query = select(NodeTask).where(or_(NodeTask.state == "waiting", dead)).order_by(NodeTask.asked_at)
        if (row := session.scalars(query).first()) is None:
            return None
        row.state, row.worker, row.changed_at = "running", worker, now
        _publish(session, ctx, row.name)
        return Task(row.name, row.kind, row.address, row.host_key, worker)


def _release(ctx: Context, ended: Callable[[str], bool]) -> None:
    with ctx.db.read() as session:
        running = select(NodeTask.name, NodeTask.worker).where(NodeTask.state == "running")
        left = [(name, worker) for name, worker in session.execute(running) if ended(worker)]
    if left:
        with ctx.db.write() as session:
            for name, worker in left:
                mine = (NodeTask.name == name, NodeTask.worker == worker, NodeTask.state == "running")
                session.execute(update(NodeTask).where(*mine).values(state="waiting"))


def _held(session: Session, task: Task) -> NodeTask:
    """Its row, if this worker still has it; raises `version_conflict`."""
    row = session.get_one(NodeTask, task.name)
    if row.state != "running" or row.worker != task.worker:
        raise GarageError("version_conflict", N_("another worker owns {node} now"), node=task.name)
    return row


def progress(ctx: Context, task: Task, step: str, share: float, said: str = "") -> None:
    """`share` (0-1) of the step is done."""
    with ctx.db.write() as session:
        row = _held(session, task)
        row.step, row.said, row.changed_at = step, said[:300], ctx.clock()
        row.percent = percent(step, share) if task.kind == "add" else row.percent
        _publish(session, ctx, task.name)


def alive(ctx: Context, task: Task) -> None:
    """Its worker lives, and waits for the server."""
    with ctx.db.write() as session:
        _held(session, task).changed_at = ctx.clock()


def others(ctx: Context, name: str) -> list[NodeAccess]:
    """The nodes on other servers but this one."""
    query = select(Node.name, Node.hypervisor, Node.address, Node.ssh_host_key)
    query = query.where(Node.name != name, Node.address != "").order_by(Node.name)
    with ctx.db.read() as session:
        return [NodeAccess(*row) for row in session.execute(query)]


def void(ctx: Context, task: Task) -> None:
    """Its certificates and its netd's token, before anything is told to anybody."""
    with ctx.db.write() as session:
        _held(session, task)
        revoke(session, ctx, task.name)
        session.execute(update(Node).where(Node.name == task.name).values(token_hash=""))


def found(ctx: Context, task: Task, findings: Sequence[dict[str, Any]]) -> None:
    with ctx.db.write() as session:
        _held(session, task).findings = list(findings)


def register(ctx: Context, task: Task, token: str, hypervisor: str, facts: NodeFacts) -> None:
    """Have the node's row, with netd's `token`; it takes no machines yet. The others' specs name it from now on."""
    with ctx.db.write() as session:
        row, node = _held(session, task), session.get(Node, task.name)
        if node is None:
            node = Node(name=task.name, hypervisor=hypervisor, state="maintenance", state_since=ctx.clock(), facts={})
            row.made = True
            session.add(node)
        node.address, node.ssh_host_key, node.hypervisor = task.address, task.host_key, hypervisor
        node.token_hash = digest(token)
        node.facts = node.facts or asdict(facts)
        session.flush()
        raise_specs(session)


def has_reported(ctx: Context, name: str, since: float) -> bool:
    """Whether its netd has said, after `since`, that it follows a spec."""
    with ctx.db.read() as session:
        node = session.get_one(Node, name)
        return node.reported_at is not None and node.reported_at > since and node.applied_version > 0


def done(ctx: Context, task: Task, kit: str) -> None:
    """It takes machines now, unless an admin has put it aside before. `kit`: the digest of what was installed there."""
    with ctx.db.write() as session:
        row, node = _held(session, task), session.get_one(Node, task.name)
        if row.made:
            set_state(session, ctx, node, NodeState.ACTIVE)
        row.state, row.percent, row.made, row.said, row.changed_at = "done", 100, False, "", ctx.clock()
        row.kit = kit
        _publish(session, ctx, task.name)


def failed(ctx: Context, task: Task, error: GarageError) -> None:
    """With what it has made of rows undone; what is on the server stays, for the next time."""
    with ctx.db.write() as session:
        lock(session)
        row = _held(session, task)
        if task.kind == "add" and row.made:
            _forget(session, ctx, task.name)
            row.made = False
        row.state, row.error, row.changed_at = "failed", error.as_dict(), ctx.clock()
        audit(session, ctx, "garage", f"node.{task.kind}_failed", task.name, code=error.code)
        _publish(session, ctx, task.name)


def gone(ctx: Context, task: Task, left: list[str]) -> None:
    """The node's rows go; `left`: what could not be done on the server itself, for the admin to see."""
    with ctx.db.write() as session:
        lock(session)
        row = _held(session, task)
        _forget(session, ctx, task.name)
        row.state, row.percent, row.step, row.changed_at = "done", 100, "", ctx.clock()
        row.said = "; ".join(left)[:300]
        audit(session, ctx, "garage", "node.removed", task.name)
        _publish(session, ctx, task.name)


def _forget(session: Session, ctx: Context, name: str) -> None:
    """Its place in the site, its certificates, its row; and the rows of machines that were on it and are gone."""
    own = session.scalars(select(Site).where(Site.own)).first()
    if own is not None:
        members = list(session.scalars(select(SiteNode).where(SiteNode.site_id == own.id)))
        leaving = [node for node in members if node.name == name]
        if leaving and len(members) > len(leaving):
            registry.drop(session, ctx, own, leaving, whole=False)
    revoke(session, ctx, name)
    volume_rules.forget_node(session, name)
    session.execute(
        delete(Machine).where(Machine.node == name, Machine.state.in_([State.GONE.value, State.LOST.value]))
    )
    session.execute(delete(Node).where(Node.name == name))
    session.flush()
    raise_specs(session)


# --- certificates --------------------------------------------------------------------------------------------------


def certified(ctx: Context, name: str, use: str, serial: str, not_after: float) -> None:
    """Note a certificate; the node's earlier ones for this use are void."""
    with ctx.db.write() as session:
        revoke(session, ctx, name, use)
        session.add(NodeCertificate(serial=serial, node=name, use=use, not_after=not_after))


def revoke(session: Session, ctx: Context, name: str, use: str = "") -> None:
    wanted = update(NodeCertificate).where(NodeCertificate.node == name, NodeCertificate.revoked_at.is_(None))
    wanted = wanted.where(NodeCertificate.use == use) if use else wanted
    session.execute(wanted.values(revoked_at=ctx.clock()))


def revoked(ctx: Context) -> list[tuple[str, float]]:
    """(serial, when) of what is void and would still be believed for its time."""
    query = select(NodeCertificate.serial, NodeCertificate.revoked_at)
    query = query.where(NodeCertificate.revoked_at.is_not(None), NodeCertificate.not_after > ctx.clock())
    with ctx.db.read() as session:
        return [(serial, at or 0.0) for serial, at in session.execute(query.order_by(NodeCertificate.serial))]
