"""The first rows of a garage: sizes, its node, its admin. Idempotent: what exists stays as it is."""

from __future__ import annotations

from sqlalchemy import select

from garage.core.types import SIZES
from garage.db.models import Node, Size, User
from garage.services import accounts
from garage.services.context import Caller, Context, audit
from garage.services.vault import digest


def seed(ctx: Context, *, admin: str, node_token: str) -> Caller:
    """Make the sizes, the local node (its netd holds `node_token`) and the admin; returns the admin as a caller."""
    with ctx.db.write() as session:
        if not session.scalar(select(Size.name).limit(1)):
            session.add_all(
                Size(name=s.name, vcpus=s.vcpus, memory_mib=s.memory_mib, disk_gib=s.disk_gib) for s in SIZES
            )
        node = session.get(Node, ctx.config.node)
        if node is None:
            node = Node(name=ctx.config.node, hypervisor=ctx.config.hypervisor, facts={})
            session.add(node)
        node.token_hash, node.hypervisor = digest(node_token), ctx.config.hypervisor
        user = session.scalars(select(User).where(User.role == "admin").order_by(User.id)).first()
        if user is None:
            user = accounts.add_user(session, ctx, admin, "admin")
            audit(session, ctx, "garage", "user.create", admin, role="admin")
        return Caller(user.id, user.name, admin=True)
