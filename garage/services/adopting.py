"""Which nodes wait, after a restore, for an admin to adopt them; see `services/adoption.py`."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from garage.db.models import Node
from garage.db.node_models import Adoption, KeptDomain
from garage.errors import N_, GarageError
from garage.services.context import Context


def begin(session: Session, ctx: Context) -> None:
    """Every node waits for an admin, in the caller's transaction."""
    for name in session.scalars(select(Node.name)):
        session.merge(Adoption(node=name, since=ctx.clock(), seen_at=None, domains={}))


def waits(session: Session, node: str) -> bool:
    """Whether nothing may be done on this node yet."""
    return session.get(Adoption, node) is not None


def check_none(session: Session) -> None:
    """Raises `wrong_state` while a node that answers waits: an address or a name may be in use there without a row."""
    waiting = select(Adoption.node).join(Node, Node.name == Adoption.node).where(Node.hypervisor_error == "")
    if session.scalars(waiting.limit(1)).first() is not None:
        raise GarageError(
            "wrong_state",
            N_("this garage was restored from a backup, and an admin has yet to look at what differs"),
            hint=N_("an admin does that with “garage admin adopt”"),
        )


def kept(session: Session, node: str) -> frozenset[str]:
    """Domains without a row whose guests are asked to shut down."""
    return frozenset(session.scalars(select(KeptDomain.id).where(KeptDomain.node == node)))
