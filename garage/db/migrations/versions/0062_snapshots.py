"""Snapshots of machines, and machines that return to one"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0062"
down_revision = "0061"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "snapshot",
        sa.Column("id", sa.String(length=20), nullable=False),
        sa.Column("machine_id", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("how", sa.String(length=8), nullable=False),
        sa.Column("image_id", sa.String(length=20), nullable=False),
        sa.Column("disk_gib", sa.Integer(), nullable=False),
        sa.Column("held_gib", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("created_by", sa.String(length=20), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("made_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["machine_id"], ["machine.id"]),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"]),
        sa.ForeignKeyConstraint(["created_by"], ["user.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("machine_id", "name", name="ux_snapshot_name"),
    )
    op.create_index("ix_snapshot_image_id", "snapshot", ["image_id"])
    op.add_column("machine", sa.Column("revert_to", sa.String(length=20), nullable=False, server_default=""))
    op.add_column("machine", sa.Column("reverted_at", sa.Double(), nullable=True))


def downgrade() -> None:
    op.drop_column("machine", "reverted_at")
    op.drop_column("machine", "revert_to")
    op.drop_table("snapshot")
