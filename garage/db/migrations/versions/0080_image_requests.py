"""Images on their way: which request asked for them"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0080"
down_revision = "0079"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("image_task", sa.Column("request", sa.String(length=64), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("image_task", "request")
