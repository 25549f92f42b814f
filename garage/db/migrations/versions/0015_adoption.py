"""Nodes after a restore: nothing is done on them until an admin has seen how they differ"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "adoption",
        sa.Column("node", sa.String(length=32), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=True),
        sa.Column("domains", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["node"], ["node.name"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("node"),
    )
    op.create_table(
        "kept_domain",
        sa.Column("node", sa.String(length=32), nullable=False),
        sa.Column("id", sa.String(length=20), nullable=False),
        sa.Column("kept_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("node", "id"),
    )


def downgrade() -> None:
    op.drop_table("kept_domain")
    op.drop_table("adoption")
