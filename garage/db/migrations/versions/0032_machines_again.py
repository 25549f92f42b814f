"""Machines: tags, notes, and what is done anew at the next start"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "machine_tag",
        sa.Column("tag", sa.String(length=32), nullable=False),
        sa.Column("machine_id", sa.String(length=20), nullable=False),
        sa.ForeignKeyConstraint(["machine_id"], ["machine.id"]),
        sa.PrimaryKeyConstraint("tag", "machine_id"),
    )
    op.create_index("ix_machine_tag_machine_id", "machine_tag", ["machine_id"])
    op.add_column("machine", sa.Column("notes", sa.String(length=2000), nullable=False, server_default=""))
    op.add_column("machine", sa.Column("redo", sa.String(length=8), nullable=False, server_default=""))
    op.add_column("machine", sa.Column("rebuilt_at", sa.Double(), nullable=True))


def downgrade() -> None:
    for name in ("rebuilt_at", "redo", "notes"):
        op.drop_column("machine", name)
    op.drop_table("machine_tag")
