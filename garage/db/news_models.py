"""Tables of what people are told: an announcement to all."""

from __future__ import annotations

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from garage.db.models import Base, Id


class Announcement(Base):
    """What stands at the top of every page, at most one row. A new text is a new row, so that a browser shows it again."""

    __tablename__ = "announcement"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    text_en: Mapped[str] = mapped_column(Text)
    text_ja: Mapped[str] = mapped_column(Text)
    """Plain text; what line breaks it has are shown."""
    severity: Mapped[str] = mapped_column(String(8))
    """ "info" or "warning"."""
    since: Mapped[float]
    until: Mapped[float | None]
    """Shown from then on, and no more from then on; None: until it is cleared."""
