"""The chain over the audit log, and what it is searched by"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0030"
branch_labels = None
depends_on = None

SEARCHED = ("at", "actor", "action")


def upgrade() -> None:
    op.create_table(
        "audit_seal",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("entry", sa.Integer(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("signature", sa.String(length=128), nullable=False),
        sa.Column("sealed_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("entry"),
    )
    for name in SEARCHED:
        op.create_index(f"ix_audit_{name}", "audit", [name])


def downgrade() -> None:
    for name in SEARCHED:
        op.drop_index(f"ix_audit_{name}", "audit")
    op.drop_table("audit_seal")
