"""Tables of what people are told: an announcement to all, news of what concerns each, and the ways by which it leaves."""

from __future__ import annotations

from sqlalchemy import JSON, ForeignKey, Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from garage.db.models import Base, Id, Json


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


class News(Base):
    """Something that concerns one person: a line of their inbox."""

    __tablename__ = "news"
    __table_args__ = (Index("ix_news_person", "user_id", "id"), Index("ix_news_unread", "user_id", "read_at"))
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    user_id: Mapped[str] = mapped_column(Id, ForeignKey("user.id"))
    at: Mapped[float]
    kind: Mapped[str] = mapped_column(String(32))
    """A key of `core.news.KINDS`."""
    detail: Mapped[Json]
    """The fields of its sentences."""
    read_at: Mapped[float | None]


class Channel(Base):
    """A way out for news: an e-mail address of a person, a webhook of a person or of a project."""

    __tablename__ = "news_channel"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    user_id: Mapped[str | None] = mapped_column(Id, ForeignKey("user.id"), index=True)
    project_id: Mapped[str | None] = mapped_column(Id, ForeignKey("project.id"), index=True)
    """One of the two."""
    kind: Mapped[str] = mapped_column(String(8))
    """One of `core.channels.KINDS`."""
    name: Mapped[str] = mapped_column(String(64))
    locale: Mapped[str] = mapped_column(String(8))
    """In which language it is told; of a person's, what they read pages in when it is empty."""
    wanted: Mapped[list[str]] = mapped_column(JSON)
    """Which kinds of news."""
    target: Mapped[bytes] = mapped_column(LargeBinary)
    """`core.channels.Target` as JSON, encrypted."""
    confirmed: Mapped[bool]
    """False: an e-mail address that nobody has proved to be theirs; it gets its code and nothing else."""
    wrong_codes: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[float]
    failures: Mapped[int] = mapped_column(default=0)
    """Attempts in a row that failed."""
    retry_at: Mapped[float] = mapped_column(default=0.0)
    error: Mapped[Json | None] = mapped_column(JSON)
    """Of the last attempt, if that failed: `GarageError.as_dict()`."""
    tried_at: Mapped[float | None]
    sent_at: Mapped[float | None]


class Outgoing(Base):
    """News on its way out, written in the transaction of what happened; the row goes when it has arrived, or is given up."""

    __tablename__ = "news_outgoing"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    """Travels with it: who gets it twice can tell."""
    channel_id: Mapped[str] = mapped_column(Id, ForeignKey("news_channel.id", ondelete="CASCADE"), index=True)
    at: Mapped[float]
    kind: Mapped[str] = mapped_column(String(32))
    detail: Mapped[Json]
    tries: Mapped[int] = mapped_column(default=0)
    claimed_until: Mapped[float] = mapped_column(default=0.0)
    """A worker is at it until then, or has died."""
