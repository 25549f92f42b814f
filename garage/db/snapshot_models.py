"""The table of snapshots of machines, and what all snapshots have."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from garage.db.models import Base, Id, Json


class Kept:
    """What a disk held at one moment: a file beside it, on its node."""

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(String(8))
    """`core.snapshots.SnapshotState`."""
    held_gib: Mapped[int]
    """What it takes of the project's quota (of a volume's, of its node too): while it is made as much as the disk may hold."""
    bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    """Of its file; 0 before it is made."""
    error: Mapped[Json | None] = mapped_column(JSON)
    """`GarageError.as_dict()` of why it was not made, or could not be returned to."""
    created_by: Mapped[str] = mapped_column(ForeignKey("user.id"))
    created_at: Mapped[float]
    """When it was asked for."""
    made_at: Mapped[float | None]


class Snapshot(Kept, Base):
    """A machine's disk as it was at one moment."""

    __tablename__ = "snapshot"
    __table_args__ = (UniqueConstraint("machine_id", "name", name="ux_snapshot_name"),)
    machine_id: Mapped[str] = mapped_column(ForeignKey("machine.id"))
    how: Mapped[str] = mapped_column(String(8))
    """`core.snapshots.How`: what is wanted; once it is made, what it is."""
    image_id: Mapped[str] = mapped_column(ForeignKey("image.id"), index=True)
    """On which its file lies: kept as long as it is."""
    disk_gib: Mapped[int]
    """Of the disk, as the guest saw it."""
