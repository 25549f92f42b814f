"""When a session was last proved"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0076"
down_revision = "0075"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("session", sa.Column("proved_at", sa.Double(), nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("session", "proved_at")
