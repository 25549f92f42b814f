"""Moves of machines between nodes, and what they leave behind"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "move",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("machine_id", sa.String(length=20), nullable=False),
        sa.Column("source", sa.String(length=32), nullable=False),
        sa.Column("target", sa.String(length=32), nullable=False),
        sa.Column("way", sa.String(length=8), nullable=False),
        sa.Column("step", sa.String(length=16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=True),
        sa.Column("began_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("pause_ms", sa.Double(), nullable=True),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(["machine_id"], ["machine.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    ended = sa.text("ended_at IS NULL")
    op.create_index("ux_move_open", "move", ["machine_id"], unique=True, sqlite_where=ended, postgresql_where=ended)
    op.create_index("ix_move_machine_id", "move", ["machine_id"], unique=False)
    op.create_index("ix_move_source", "move", ["source", "began_at"], unique=False)
    op.create_table(
        "leftover",
        sa.Column("node", sa.String(length=32), nullable=False),
        sa.Column("machine_id", sa.String(length=20), nullable=False),
        sa.PrimaryKeyConstraint("node", "machine_id"),
    )


def downgrade() -> None:
    op.drop_table("leftover")
    op.drop_table("move")
