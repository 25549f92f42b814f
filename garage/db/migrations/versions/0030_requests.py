"""Which request a machine's present doings go back to"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("machine", sa.Column("request", sa.String(length=64), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("machine", "request")
