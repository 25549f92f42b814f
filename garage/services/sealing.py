"""The sealer of the audit log, and the proof that nothing in it was changed. Several workers may seal: each does so alone, in a
transaction of its own, and goes on where the last one ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from sqlalchemy import Row, delete, func, select
from sqlalchemy.orm import Session

from garage.core import chain
from garage.db.models import Audit
from garage.db.people_models import AuditSeal
from garage.services.context import Caller, Context, audit
from garage.services.rights import require_reader

BATCH = 500
"""Entries per transaction: others want to write, too."""
DAY = 86_400.0
CUT = "audit.truncate"


@dataclass(frozen=True, slots=True)
class Broken:
    """The first entry at which the log is not what was sealed. `reason` is a key of `REASONS`."""

    number: int
    entry: int
    reason: str


@dataclass(frozen=True, slots=True)
class Proof:
    """What a look at the whole log found. `first` to `number` are sealed; `waiting` entries are not yet."""

    whole: bool
    entries: int
    waiting: int
    first: int
    number: int
    hash: str
    broken: Broken | None


REASONS = ("missing", "changed", "added", "gap", "signature", "cut", "head")
"""Removed; changed, or its seal; put in later; seals are missing before it; sealed by another key; the beginning was removed by hand;
not the head that was noted."""


def seal(ctx: Context) -> bool:
    """Seal what is not yet sealed, at most `BATCH` entries; whether there are more."""
    with ctx.db.read() as session:
        if not _waiting(session):
            return False
    with ctx.db.write() as session:
        last = session.scalars(select(AuditSeal).order_by(AuditSeal.number.desc()).limit(1)).first()
        number, hash_, entry = (last.number, last.hash, last.entry) if last else (0, chain.START, 0)
        rows = list(session.scalars(select(Audit).where(Audit.id > entry).order_by(Audit.id).limit(BATCH)))
        for row in rows:
            number += 1
            hash_ = chain.digest(hash_, number, _entry(row))
            signature = ctx.controller_key.sign(chain.signed(hash_)).hex()
            seal_ = AuditSeal(number=number, entry=row.id, hash=hash_, signature=signature, sealed_at=ctx.clock())
            session.add(seal_)
        return len(rows) == BATCH


def _waiting(session: Session) -> int:
    """How many entries are newer than the last one that is sealed."""
    last = session.scalar(select(func.max(AuditSeal.entry))) or 0
    return session.scalar(select(func.count()).select_from(Audit).where(Audit.id > last)) or 0


def _entry(row: Audit | Row[Any]) -> chain.Entry:
    return chain.Entry(row.id, row.at, row.actor, row.action, row.project_id, row.subject, row.detail)


def verify(ctx: Context, caller: Caller, *, number: int = 0, hash_: str = "") -> Proof:
    """Look through the whole log (admin, auditor). `number` and `hash_` are a head that was noted earlier: with it, an end that was cut off
    or a chain that was made anew is found, too, which no look at the database alone can tell."""
    require_reader(caller)
    with ctx.db.read() as session:
        walk = _Walk(session, ctx)
        found = [walk.find((number, hash_)), _added(session)]
        broken = min((each for each in found if each), key=lambda each: each.entry, default=None)
        return Proof(broken is None, walk.entries, _waiting(session), walk.first, walk.number, walk.hash, broken)


def _added(session: Session) -> Broken | None:
    """The first entry that stands among those that were sealed, and was not."""
    last = select(func.max(AuditSeal.entry)).scalar_subquery()
    sealed = select(AuditSeal.entry).where(AuditSeal.entry == Audit.id).exists()
    entry = session.scalar(select(func.min(Audit.id)).where(Audit.id <= last, ~sealed))
    return Broken(0, entry, "added") if entry is not None else None


class _Walk:
    """Along the chain, from its first seal to its last."""

    def __init__(self, session: Session, ctx: Context) -> None:
        self._session, self._key = session, ctx.controller_key.public_key()
        self.entries = self.first = self.number = 0
        self.hash = chain.START

    def find(self, noted: tuple[int, str]) -> Broken | None:
        """The first seal that does not fit. A good signature of the last one stands for all before it."""
        last = self._session.scalars(select(AuditSeal).order_by(AuditSeal.number.desc()).limit(1)).first()
        each = last is not None and not self._signed(last)
        for seal_, row in self._pairs():
            if reason := self._wrong(seal_, row, each):
                return Broken(seal_.number, seal_.entry, reason)
            self.first = self.first or seal_.number
            self.number, self.hash, self.entries = seal_.number, seal_.hash, self.entries + (row is not None)
            if seal_.number == noted[0] and seal_.hash != noted[1]:
                return Broken(seal_.number, seal_.entry, "head")
        return Broken(noted[0], last.entry + 1 if last else 1, "head") if noted[0] > self.number else None

    def _pairs(self) -> Iterator[tuple[Row[Any], chain.Entry | None]]:
        columns = [column.label(f"a_{column.key}") for column in Audit.__table__.columns]
        seals = AuditSeal.__table__.columns
        query = select(*seals, *columns).outerjoin(Audit, Audit.id == AuditSeal.entry).order_by(AuditSeal.number)
        for row in self._session.execute(query, execution_options={"yield_per": BATCH}):
            said = (row.a_id, row.a_at, row.a_actor, row.a_action, row.a_project_id, row.a_subject, row.a_detail)
            yield row, chain.Entry(*said) if row.a_id is not None else None

    def _wrong(self, seal_: Row[Any], entry: chain.Entry | None, each: bool) -> str:
        """A key of `REASONS`, or nothing."""
        if not self.first and seal_.number != 1:
            return "" if entry is None and self._is_anchor(seal_) else "cut"
        if seal_.number != self.number + 1:
            return "gap"
        if entry is None:
            return "missing"
        if chain.digest(self.hash, seal_.number, entry) != seal_.hash:
            return "changed"
        return "signature" if each and not self._signed(seal_) else ""

    def _is_anchor(self, seal_: Row[Any]) -> bool:
        """It is signed, and the log says itself that it was cut there."""
        cuts = self._session.scalars(
            select(Audit.detail).where(Audit.action == CUT, Audit.subject == str(seal_.number))
        )
        return self._signed(seal_) and seal_.hash in {cut.get("hash") for cut in cuts}

    def _signed(self, seal_: Row[Any] | AuditSeal) -> bool:
        try:
            self._key.verify(bytes.fromhex(seal_.signature), chain.signed(seal_.hash))
        except (InvalidSignature, ValueError):
            return False
        return True


def truncate(ctx: Context, days: float) -> int:
    """Remove sealed entries older than `days`, but never the newest; returns how many. The seal of the last one removed stays as the
    anchor of the rest, and the log says that it was cut there."""
    with ctx.db.write() as session:
        newest = session.scalar(select(func.max(AuditSeal.number))) or 0
        young = select(func.min(Audit.id)).where(Audit.at >= ctx.clock() - days * DAY).scalar_subquery()
        old = select(AuditSeal).join(Audit, Audit.id == AuditSeal.entry).where(AuditSeal.number < newest)
        old = old.where(func.coalesce(Audit.id < young, True)).order_by(AuditSeal.number.desc()).limit(1)
        anchor = session.scalars(old).first()
        if anchor is None:
            return 0
        gone = session.execute(delete(Audit).where(Audit.id <= anchor.entry))
        session.execute(delete(AuditSeal).where(AuditSeal.number < anchor.number))
        count = int(gone.rowcount)  # type: ignore[attr-defined]
        audit(session, ctx, "garage", "audit.truncate", str(anchor.number), hash=anchor.hash, entries=count)
        return count
