"""Snapshots of volumes, and volumes that return to one"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0077"
down_revision = "0076"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "volume_snapshot",
        sa.Column("id", sa.String(length=20), nullable=False),
        sa.Column("volume_id", sa.String(length=20), nullable=False),
        sa.Column("node", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("size_gib", sa.Integer(), nullable=False),
        sa.Column("held_gib", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("created_by", sa.String(length=20), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("made_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["volume_id"], ["volume.id"]),
        sa.ForeignKeyConstraint(["created_by"], ["user.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("volume_id", "name", name="ux_volume_snapshot_name"),
    )
    op.create_index("ix_volume_snapshot_node", "volume_snapshot", ["node"])
    op.add_column("volume", sa.Column("revert_to", sa.String(length=20), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("volume", "revert_to")
    op.drop_table("volume_snapshot")
