"""In what condition a volume was when it was copied"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0081"
down_revision = "0080"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("volume_snapshot", sa.Column("how", sa.String(length=8), nullable=False, server_default="off"))


def downgrade() -> None:
    op.drop_column("volume_snapshot", "how")
