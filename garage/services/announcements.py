"""What an admin tells everybody, at the top of every page; also those who have not signed in see it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from garage.core.told import check_text
from garage.db.news_models import Announcement
from garage.errors import N_, GarageError
from garage.services.context import Caller, Context, audit
from garage.services.rights import require_admin

MOST = 500
"""Characters of each language's text."""
SEVERITIES = ("info", "warning")


@dataclass(frozen=True, slots=True)
class NewAnnouncement:
    """Times are UTC seconds since 1970. `since` None: from now on; `until` None: until it is cleared."""

    text_en: str
    text_ja: str
    severity: str = "info"
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True)
class AnnouncementView:
    id: str
    text_en: str
    text_ja: str
    severity: str
    since: float
    until: float | None
    shown: bool
    """At this moment."""


def current(ctx: Context) -> AnnouncementView | None:
    """What is to be shown now. Asked without a caller: whoever reaches the garage may read it."""
    found = _stored(ctx)
    return found if found is not None and found.shown else None


def stored(ctx: Context, caller: Caller) -> AnnouncementView | None:
    """What is shown now; for an admin also what will be, or was."""
    found = _stored(ctx)
    return found if found is not None and (caller.admin or found.shown) else None


def put(ctx: Context, caller: Caller, wanted: NewAnnouncement) -> AnnouncementView:
    """Replace whatever was announced (admin)."""
    require_admin(caller)
    texts = {name: check_text(getattr(wanted, name), MOST, field=name) for name in ("text_en", "text_ja")}
    if wanted.severity not in SEVERITIES:
        hint = N_("an info can be closed by its reader, a warning stays")
        raise GarageError("invalid_field", N_("severity is info or warning"), hint=hint, pointer="/severity")
    since = ctx.clock() if wanted.since is None else wanted.since
    if wanted.until is not None and wanted.until <= max(since, ctx.clock()):
        hint = N_("name a later time, or none: garage announcement clear ends it")
        raise GarageError("invalid_field", N_("it would never be shown"), hint=hint, pointer="/until")
    with ctx.db.write() as session:
        session.execute(delete(Announcement))
        row = Announcement(id=ctx.new_id(), severity=wanted.severity, since=since, until=wanted.until, **texts)
        session.add(row)
        audit(session, ctx, caller.name, "announcement.set", wanted.severity, **texts, since=since, until=wanted.until)
        return _view(ctx, row)


def clear(ctx: Context, caller: Caller) -> None:
    """Show nothing any more (admin); the same where nothing was announced."""
    require_admin(caller)
    with ctx.db.write() as session:
        row = _row(session)
        if row is not None:
            session.delete(row)
            audit(session, ctx, caller.name, "announcement.clear", row.severity)


def _stored(ctx: Context) -> AnnouncementView | None:
    with ctx.db.read() as session:
        row = _row(session)
        return None if row is None else _view(ctx, row)


def _row(session: Session) -> Announcement | None:
    return session.scalars(select(Announcement).order_by(Announcement.id.desc()).limit(1)).first()


def _view(ctx: Context, row: Announcement) -> AnnouncementView:
    shown = row.since <= ctx.clock() and (row.until is None or ctx.clock() < row.until)
    return AnnouncementView(row.id, row.text_en, row.text_ja, row.severity, row.since, row.until, shown)
