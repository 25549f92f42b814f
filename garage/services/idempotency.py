"""Idempotency keys: the answer to a mutation and the mutation itself are one transaction, so a key acts exactly once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import delete
from sqlalchemy.orm import Session

from garage.db.models import Idempotency
from garage.db.session import Database
from garage.errors import N_, GarageError
from garage.services.context import Caller, Context

KEPT_SECONDS = 86_400.0
MAX_KEY = 128


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client is told: HTTP status and JSON body."""

    status: int
    body: Any
    replayed: bool = False


class _Joined(Database):
    """A database whose transactions are all part of one that is open already."""

    def __init__(self, outer: Database, session: Session) -> None:
        self.engine, self.is_sqlite, self._session = outer.engine, outer.is_sqlite, session

    @contextmanager
    def read(self) -> Iterator[Session]:
        yield self._session

    @contextmanager
    def write(self) -> Iterator[Session]:
        yield self._session
        self._session.flush()


def together(ctx: Context, act: Callable[[Context], Answer]) -> Answer:
    """Run `act` with a context whose transactions are all this one: what it checks is what it changes."""
    with ctx.db.write() as session:
        return act(replace(ctx, db=_Joined(ctx.db, session)))


def once(ctx: Context, caller: Caller, key: str, request_hash: str, act: Callable[[Context], Answer]) -> Answer:
    """Run `act` with a context that joins this transaction, or give its first answer again.

    A key that was used for another request raises `idempotency_mismatch`; a refused request leaves no trace and may be repeated.
    """
    if not 0 < len(key) <= MAX_KEY or not key.isprintable():
        raise GarageError(
            "malformed_request", N_("an Idempotency-Key has 1 to {limit} printable characters"), limit=MAX_KEY
        )
    with ctx.db.write() as session:
        session.execute(delete(Idempotency).where(Idempotency.created_at < ctx.clock() - KEPT_SECONDS))
        if known := session.get(Idempotency, (caller.user_id, key)):
            return _replay(ctx, known, request_hash)
        answer = act(replace(ctx, db=_Joined(ctx.db, session)))
        body = ctx.vault.lock(json.dumps(answer.body).encode())
        row = Idempotency(
            user_id=caller.user_id,
            key=key,
            request_hash=request_hash,
            status=answer.status,
            body=body,
            created_at=ctx.clock(),
        )
        session.add(row)
        return answer


def _replay(ctx: Context, known: Idempotency, request_hash: str) -> Answer:
    if known.request_hash != request_hash:
        hint = N_("use a new key for a new request")
        raise GarageError("idempotency_mismatch", N_("this Idempotency-Key belongs to another request"), hint=hint)
    return Answer(known.status, json.loads(ctx.vault.unlock(known.body)), replayed=True)
