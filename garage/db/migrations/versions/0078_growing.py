"""Machines: growing while they run"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0078"
down_revision = "0077"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("machine", sa.Column("most_vcpus", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("machine", sa.Column("most_memory_mib", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("machine", sa.Column("grown_from", sa.JSON(), nullable=True))
    op.add_column("machine", sa.Column("resize_error", sa.JSON(), nullable=True))


def downgrade() -> None:
    for name in ("resize_error", "grown_from", "most_memory_mib", "most_vcpus"):
        op.drop_column("machine", name)
