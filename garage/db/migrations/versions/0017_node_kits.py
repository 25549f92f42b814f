"""Which version of netd a node was given"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("node_task", schema=None) as batch_op:
        batch_op.add_column(sa.Column("kit", sa.String(length=64), nullable=False, server_default=""))


def downgrade() -> None:
    with op.batch_alter_table("node_task", schema=None) as batch_op:
        batch_op.drop_column("kit")
