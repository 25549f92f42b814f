"""What every service function is given: the database, the settings, a clock, randomness and the keys."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import insert
from sqlalchemy.orm import Session

from garage.config import Config
from garage.core.ids import make_id
from garage.core.scopes import ALL
from garage.core.shipped import Shipped
from garage.db.models import Audit, EventRow, Machine
from garage.db.session import Database
from garage.services.vault import Vault


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. Services check rights against it; `admin` may do everything in the organisation."""

    user_id: str
    name: str
    admin: bool = False
    scope: str = ALL
    """Of the token that came with the request (`core.scopes`)."""
    auditor: bool = False
    sites: frozenset[str] = frozenset()
    """Of which they are an operator."""

    @property
    def sees_all(self) -> bool:
        """What is anybody's, but what is inside machines: an auditor looks, and changes nothing by that."""
        return self.admin or self.auditor

    @property
    def sees_sites(self) -> bool:
        """How sites, links and nodes are: each site's operators see what its neighbours are like."""
        return self.sees_all or bool(self.sites)

    def operates(self, site: str) -> bool:
        return self.admin or site in self.sites


@dataclass(frozen=True, slots=True)
class Context:
    """Handed to every service function; made once by a composition root or a test."""

    db: Database
    config: Config
    clock: Callable[[], float]
    """UTC seconds since 1970."""
    rng: random.Random
    """`random.SystemRandom()` outside of tests."""
    vault: Vault
    controller_key: Ed25519PrivateKey
    request: str = ""
    """The id of the request that this is done for (`garage.tracing`); empty where nobody asked."""
    recipes: Mapping[str, Shipped] = field(default_factory=dict)
    """Those that ship, by the names of their images."""

    def new_id(self) -> str:
        return make_id(self.clock(), self.rng.getrandbits(32))


def audit(
    session: Session,
    ctx: Context,
    actor: str,
    action: str,
    subject: str,
    *,
    project_id: str | None = None,
    **detail: Any,
) -> None:
    """Append to the audit log, in the caller's transaction. Never pass a secret."""
    session.add(
        Audit(at=ctx.clock(), actor=actor, action=action, subject=subject, project_id=project_id, detail=detail)
    )


def audit_each(
    session: Session,
    ctx: Context,
    actor: str,
    action: str,
    project_id: str | None,
    subjects: Sequence[tuple[str, dict[str, Any]]],
) -> None:
    """The same for several (subject, detail) at once: one statement, whatever their number."""
    shared = {"at": ctx.clock(), "actor": actor, "action": action, "project_id": project_id}
    session.execute(insert(Audit), [{**shared, "subject": subject, "detail": detail} for subject, detail in subjects])


def publish_machine(session: Session, ctx: Context, machine: Machine) -> None:
    """An event row with what a watcher needs to redraw the machine; nobody watches one that is nobody's."""
    if machine.project_id is not None:
        session.add(EventRow(**_event(ctx, machine)))


def publish_machines(session: Session, ctx: Context, machines: Iterable[Machine]) -> None:
    """The same for several at once."""
    if rows := [_event(ctx, machine) for machine in machines if machine.project_id is not None]:
        session.execute(insert(EventRow), rows)


def _event(ctx: Context, machine: Machine) -> dict[str, Any]:
    data = {
        "id": machine.id,
        "name": machine.name,
        "state": machine.state,
        "step": machine.step,
        "state_since": machine.state_since,
    }
    return {
        "at": ctx.clock(),
        "kind": "machine",
        "project_id": machine.project_id,
        "subject": machine.id,
        "data": data,
    }
