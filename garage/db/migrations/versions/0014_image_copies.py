"""Images on their way to nodes"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("node_image") as table:
        table.add_column(sa.Column("source", sa.String(length=32), nullable=False, server_default=""))
        table.add_column(sa.Column("done", sa.BigInteger(), nullable=False, server_default="0"))
        table.add_column(sa.Column("total", sa.BigInteger(), nullable=False, server_default="0"))
        table.add_column(sa.Column("error", sa.JSON(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("node_image") as table:
        for name in ("error", "total", "done", "source"):
            table.drop_column(name)
