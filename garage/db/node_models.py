"""Tables of servers that become nodes or cease to be some."""

from __future__ import annotations

from sqlalchemy import JSON, String
from sqlalchemy.orm import Mapped, mapped_column

from garage.db.models import Base, Json


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
