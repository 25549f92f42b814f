"""Tables around a machine."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from garage.db.models import Base


class MachineTag(Base):
    """A word that somebody wrote on a machine."""

    __tablename__ = "machine_tag"
    tag: Mapped[str] = mapped_column(String(32), primary_key=True)
    machine_id: Mapped[str] = mapped_column(ForeignKey("machine.id"), primary_key=True, index=True)
