"""The workers' transactions among themselves: who is at work, who beats, who owns which nodes.

A node is owned by the worker that its `owner` names as long as that worker has a row. No clock of another server is ever compared: a
worker judges the others by whether their beat changes within its own time, and removes the row of one whose beat does not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from garage.core.types import NodeAccess
from garage.db.models import Node
from garage.db.node_models import Worker
from garage.services.context import Context, audit
from garage.services.work import Hold

CHUNK = 500
"""Names per statement: SQLite takes 32,766 parameters, older ones 999."""


@dataclass(frozen=True, slots=True)
class Mate:
    """A worker as its row says."""

    id: str
    server: str
    home: str
    beat: int


Mark = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Post:
    """A node as the workers see it."""

    access: NodeAccess
    owner: str
    epoch: int
    revision: int


def join(ctx: Context, who: str, server: str, home: str) -> None:
    """Be at work."""
    with ctx.db.write() as session:
        now = _now(session, ctx)
        session.add(Worker(id=who, server=server, home=home, beat=0, beat_at=now, started_at=now))


def beat(ctx: Context, who: str) -> bool:
    """Show life; False when the others have given this worker up."""
    with ctx.db.write() as session:
        query = update(Worker).where(Worker.id == who)
        done = session.execute(query.values(beat=Worker.beat + 1, beat_at=_now(session, ctx)))
        return bool(done.rowcount)  # type: ignore[attr-defined]


def mates(ctx: Context) -> list[Mate]:
    """Every worker that has a row, oneself among them."""
    with ctx.db.read() as session:
        query = select(Worker.id, Worker.server, Worker.home, Worker.beat).order_by(Worker.id)
        return [Mate(*row) for row in session.execute(query)]


def bury(ctx: Context, mate: Mate) -> bool:
    """Give a worker up, unless it has beaten since it was seen: from then on what it owned is free."""
    with ctx.db.write() as session:
        gone = session.execute(delete(Worker).where(Worker.id == mate.id, Worker.beat == mate.beat))
        if not gone.rowcount:  # type: ignore[attr-defined]
            return False
        audit(session, ctx, "garage", "worker.lost", mate.id)
        return True


def marks(ctx: Context) -> dict[str, Mark]:
    """Every node's (owner, epoch, revision): one cheap question that tells which `posts` to read again."""
    with ctx.db.read() as session:
        rows = session.execute(select(Node.name, Node.owner, Node.epoch, Node.revision))
        return {name: (owner, epoch, revision) for name, owner, epoch, revision in rows}


def posts(ctx: Context, names: Collection[str]) -> list[Post]:
    """These nodes, by name."""
    columns = Node.name, Node.hypervisor, Node.address, Node.ssh_host_key, Node.owner, Node.epoch, Node.revision
    found = []
    with ctx.db.read() as session:
        for chunk in _chunks(names):
            rows = session.execute(select(*columns).where(Node.name.in_(chunk)).order_by(Node.name))
            found += [Post(NodeAccess(*row[:4]), *row[4:]) for row in rows]
    return found


def take(ctx: Context, who: str, names: Collection[str]) -> list[Hold]:
    """Own those of the nodes that nobody at work owns, each with a new epoch; none when `who` was given up meanwhile."""
    taken: list[Hold] = []
    with ctx.db.write() as session:
        if session.get(Worker, who, with_for_update={"read": True}) is None:
            return []
        free = Node.owner.not_in(select(Worker.id))
        for chunk in _chunks(names):
            query = update(Node).where(Node.name.in_(chunk), free).values(owner=who, epoch=Node.epoch + 1)
            rows = session.execute(query.returning(Node.name, Node.epoch), execution_options=_BULK)
            taken += [Hold(name, who, epoch) for name, epoch in rows]
    return taken


def release(ctx: Context, who: str, names: Collection[str]) -> None:
    """Own these no longer; what has changed hands already is left alone."""
    with ctx.db.write() as session:
        _release(session, who, names)


def leave(ctx: Context, who: str, names: Collection[str]) -> None:
    """Be at work no longer."""
    with ctx.db.write() as session:
        _release(session, who, names)
        session.execute(delete(Worker).where(Worker.id == who))


def _release(session: Session, who: str, names: Collection[str]) -> None:
    for chunk in _chunks(names):
        query = update(Node).where(Node.name.in_(chunk), Node.owner == who).values(owner="")
        session.execute(query, execution_options=_BULK)


_BULK = {"synchronize_session": False}


def _chunks(names: Collection[str]) -> Iterator[list[str]]:
    order = sorted(names)
    return (order[at : at + CHUNK] for at in range(0, len(order), CHUNK))


def at_work(session: Session, ctx: Context, within: float) -> frozenset[str]:
    """The workers that have beaten within so many seconds of the database's clock: for people, never for decisions."""
    return frozenset(session.scalars(select(Worker.id).where(Worker.beat_at > _now(session, ctx) - within)))


def _now(session: Session, ctx: Context) -> float:
    """One clock for all servers: the database's, which in the embedded one is this server's."""
    if session.get_bind().dialect.name == "sqlite":
        return ctx.clock()
    return float(session.scalar(select(func.extract("epoch", func.clock_timestamp()))) or 0.0)
