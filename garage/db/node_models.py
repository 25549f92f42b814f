"""Tables around a node: what it holds and has, who works on it, what is left on it; servers that become nodes or cease to be some."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from garage.db.models import Base, Id, Json


class NodeLoad(Base):
    """A node's capacity and what its machines hold of it, in one narrow row. The database's own triggers keep it (`db/loads.py`), in
    the transaction that changes a node or a machine; nothing else writes it."""

    __tablename__ = "node_load"
    node: Mapped[str] = mapped_column(ForeignKey("node.name", ondelete="CASCADE"), primary_key=True)
    takes: Mapped[bool] = mapped_column(default=False)
    """It is active, not silent, its hypervisor answers, and its facts are known."""
    vcpus: Mapped[int] = mapped_column(default=0)
    memory_mib: Mapped[int] = mapped_column(default=0)
    available_mib: Mapped[int | None]
    disk_free_gib: Mapped[float] = mapped_column(default=0.0)
    disk_total_gib: Mapped[float] = mapped_column(default=0.0)
    machines: Mapped[int] = mapped_column(default=0)
    used_vcpus: Mapped[int] = mapped_column(default=0)
    used_memory_mib: Mapped[int] = mapped_column(default=0)
    """Of machines that run, also of those on their way here; disk is that of all that exist."""
    used_disk_gib: Mapped[int] = mapped_column(default=0)


class NodeImage(Base):
    """Which image lies on which node."""

    __tablename__ = "node_image"
    node: Mapped[str] = mapped_column(ForeignKey("node.name", ondelete="CASCADE"), primary_key=True)
    image: Mapped[str] = mapped_column(String(64), primary_key=True)
    """sha256."""
    state: Mapped[str] = mapped_column(String(16))
    """ "present" when it is whole and verified; "copying" while it is on its way from `source`; "failed" when it was given up for now."""
    since: Mapped[float]
    """Of a copy: of its last sign of life; one of a worker that was killed grows old and counts no longer."""
    source: Mapped[str] = mapped_column(String(32), default="")
    done: Mapped[int] = mapped_column(BigInteger, default=0)
    total: Mapped[int] = mapped_column(BigInteger, default=0)
    """Bytes."""
    error: Mapped[Json | None]


class Worker(Base):
    """A worker process that is at work; it adds one to its beat about once a second."""

    __tablename__ = "worker"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    server: Mapped[str] = mapped_column(String(64))
    """The server in this boot: processes that name the same one see the same lock files."""
    home: Mapped[str] = mapped_column(String(32))
    """The node that is the worker's own server: others cannot reach what has no address."""
    beat: Mapped[int] = mapped_column(BigInteger, default=0)
    beat_at: Mapped[float]
    """By the database's clock; for people, never for decisions."""
    started_at: Mapped[float]


class Leftover(Base):
    """Files, and perhaps a definition, of a machine on a node where it is not (any more): to be removed."""

    __tablename__ = "leftover"
    node: Mapped[str] = mapped_column(String(32), primary_key=True)
    machine_id: Mapped[str] = mapped_column(Id, primary_key=True)


class Adoption(Base):
    """A node after a restore, until an admin has seen how it differs from the database: nothing is done on it before."""

    __tablename__ = "adoption"
    node: Mapped[str] = mapped_column(ForeignKey("node.name", ondelete="CASCADE"), primary_key=True)
    since: Mapped[float]
    seen_at: Mapped[float | None]
    """When its worker last looked; None before the first look."""
    domains: Mapped[Json] = mapped_column(default=dict)
    """id → [`core.hypervisor_types.Power`, `Reason`] of every domain there."""


class KeptDomain(Base):
    """A domain without a row, kept on its node: its guest is asked to shut down, and nothing of it is ever removed by us."""

    __tablename__ = "kept_domain"
    node: Mapped[str] = mapped_column(String(32), primary_key=True)
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    kept_at: Mapped[float]


class NodeTask(Base):
    """What is wanted of a server: to become a node, or not to be one any more. One row per name; it outlasts the node's own."""

    __tablename__ = "node_task"
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    """ "add" or "remove"."""
    address: Mapped[str] = mapped_column(String(255))
    host_key: Mapped[str] = mapped_column(String(800))
    state: Mapped[str] = mapped_column(String(16))
    """ "waiting", "running", "failed", "done"."""
    step: Mapped[str] = mapped_column(String(16), default="")
    percent: Mapped[int] = mapped_column(default=0)
    said: Mapped[str] = mapped_column(String(300), default="")
    """The last line of the step's program: a stranger's."""
    findings: Mapped[list[Json]] = mapped_column(JSON, default=list)
    """`core.node_checks.Finding.as_dict()`."""
    error: Mapped[Json | None]
    made: Mapped[bool] = mapped_column(default=False)
    """The node's row was made by this task, and goes with it if it fails."""
    asked_by: Mapped[str] = mapped_column(String(64))
    asked_at: Mapped[float]
    kit: Mapped[str] = mapped_column(String(64), default="")
    """The digest of what was installed there when it last came to its end."""
    worker: Mapped[str] = mapped_column(String(64), default="")
    changed_at: Mapped[float]
    """Of the last word of its worker: one that is silent for long is dead, and another goes on."""


class NodeCertificate(Base):
    """What the garage's authority has signed; kept after the node, for the list of what is void."""

    __tablename__ = "node_certificate"
    serial: Mapped[str] = mapped_column(String(40), primary_key=True)
    """Hexadecimal."""
    node: Mapped[str] = mapped_column(String(32), index=True)
    use: Mapped[str] = mapped_column(String(16))
    """ "libvirt" or "qemu"."""
    not_after: Mapped[float]
    revoked_at: Mapped[float | None]
