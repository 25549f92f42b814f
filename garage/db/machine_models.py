"""Tables around a machine."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, text
from sqlalchemy.orm import Mapped, mapped_column

from garage.db.models import Base, Json


class MachineTag(Base):
    """A word that somebody wrote on a machine."""

    __tablename__ = "machine_tag"
    tag: Mapped[str] = mapped_column(String(32), primary_key=True)
    machine_id: Mapped[str] = mapped_column(ForeignKey("machine.id"), primary_key=True, index=True)


class MoveRow(Base):
    """A machine's way from one node to another; kept for a while after it has ended. Nodes by name: they may be removed."""

    __tablename__ = "move"
    __table_args__ = (
        Index(
            "ux_move_open",
            "machine_id",
            unique=True,
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
        Index("ix_move_source", "source", "began_at"),
    )
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
    machine_id: Mapped[str] = mapped_column(ForeignKey("machine.id"), index=True)
    source: Mapped[str] = mapped_column(String(32))
    target: Mapped[str] = mapped_column(String(32))
    way: Mapped[str] = mapped_column(String(8))
    """ "live" or "cold" (`core.drain.Way`)."""
    step: Mapped[str] = mapped_column(String(16), default="")
    """`core.changes.MoveStep`; at the end "arrived" or "stayed"."""
    version: Mapped[int]
    """The target's node spec from which on the machine has its place in the network there."""
    spec: Mapped[Json | None]
    """The domain as the target shall have it; None until all is in place there."""
    began_at: Mapped[float]
    ended_at: Mapped[float | None]
    pause_ms: Mapped[float | None]
    """For how long the guest stood still; None for one that was off, and where nobody could measure it."""
    error: Mapped[Json | None]
    """`GarageError.as_dict()` of why it stayed."""
