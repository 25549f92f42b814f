"""Machines: what one may take of what its node shares"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0072"
down_revision = "0071"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("machine", sa.Column("limits", sa.JSON(), nullable=False, server_default="{}"))
    op.add_column("machine", sa.Column("disk_limits", sa.String(length=24), nullable=False, server_default=""))


def downgrade() -> None:
    for name in ("disk_limits", "limits"):
        op.drop_column("machine", name)
