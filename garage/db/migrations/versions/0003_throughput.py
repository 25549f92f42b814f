"""Throughput of links, as measured"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

INDEXED = ("number", "client_id", "server_id", "state", "latest")


def upgrade() -> None:
    op.create_table(
        "measurement",
        sa.Column("id", sa.String(length=20), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("client_id", sa.String(length=20), nullable=False),
        sa.Column("server_id", sa.String(length=20), nullable=False),
        sa.Column("asked_by", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("latest", sa.Boolean(), nullable=False),
        sa.Column("seconds", sa.Integer(), nullable=False),
        sa.Column("mbit", sa.Integer(), nullable=False),
        sa.Column("asked_at", sa.Double(), nullable=False),
        sa.Column("not_after", sa.Double(), nullable=True),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("sent_bps", sa.Double(), nullable=True),
        sa.Column("sent_retransmits", sa.BigInteger(), nullable=True),
        sa.Column("received_bps", sa.Double(), nullable=True),
        sa.Column("received_retransmits", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.String(length=300), nullable=False),
        sa.ForeignKeyConstraint(
            ["client_id"],
            ["site_node.id"],
        ),
        sa.ForeignKeyConstraint(
            ["server_id"],
            ["site_node.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("measurement", schema=None) as batch_op:
        for column in INDEXED:
            batch_op.create_index(batch_op.f(f"ix_measurement_{column}"), [column], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("measurement", schema=None) as batch_op:
        for column in INDEXED:
            batch_op.drop_index(batch_op.f(f"ix_measurement_{column}"))

    op.drop_table("measurement")
