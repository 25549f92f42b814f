"""The tables of volumes and of their snapshots."""

from __future__ import annotations

from sqlalchemy import JSON, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from garage.core.snapshots import How
from garage.db.models import Base, Id, Json, Project
from garage.db.snapshot_models import Kept


class Volume(Base):
    """A disk that outlives machines: a file on one node."""

    __tablename__ = "volume"
    __table_args__ = (
        UniqueConstraint("project_id", "name", name="ux_volume_name"),
        UniqueConstraint("machine_id", "slot", name="ux_volume_slot"),
    )
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    """Also its serial, by which guests know it."""
    project_id: Mapped[str] = mapped_column(ForeignKey("project.id"))
    project: Mapped[Project] = relationship()
    name: Mapped[str] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(String(12))
    """`core.volumes.VolumeState`."""
    node: Mapped[str] = mapped_column(ForeignKey("node.name"), index=True)
    size_gib: Mapped[int]
    """As it shall be: what it takes of the project's quota."""
    made_gib: Mapped[int] = mapped_column(default=0)
    """As it is; 0 before it is made."""
    machine_id: Mapped[str | None] = mapped_column(ForeignKey("machine.id"))
    """That has it, is to get it, or has not let go of it yet."""
    slot: Mapped[int | None]
    """Its place among the machine's volumes."""
    revert_to: Mapped[str] = mapped_column(Id, default="")
    """The snapshot to which it is being returned; empty otherwise."""
    error: Mapped[Json | None] = mapped_column(JSON)
    """`GarageError.as_dict()` of why the last thing asked of it was not done."""
    request: Mapped[str] = mapped_column(String(64), default="")
    created_by: Mapped[str] = mapped_column(ForeignKey("user.id"))
    created_at: Mapped[float]


class VolumeSnapshot(Kept, Base):
    """A volume as it was at one moment."""

    __tablename__ = "volume_snapshot"
    __table_args__ = (UniqueConstraint("volume_id", "name", name="ux_volume_snapshot_name"),)
    volume_id: Mapped[str] = mapped_column(ForeignKey("volume.id"))
    node: Mapped[str] = mapped_column(String(32), index=True)
    """The volume's: here too, for the sums of `db.loads`."""
    how: Mapped[str] = mapped_column(String(8), default=How.OFF.value)
    """`core.snapshots.How`: what is wanted; once it is made, what it is."""
    size_gib: Mapped[int]
    """Of the volume then."""
