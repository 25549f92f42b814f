"""People and projects: when one's image was last begun"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0079"
down_revision = "0078"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("user", "project"):
        op.add_column(table, sa.Column("image_turn_at", sa.Double(), nullable=False, server_default="0"))


def downgrade() -> None:
    for table in ("user", "project"):
        op.drop_column(table, "image_turn_at")
