"""Images made of machines, and machines' disks to be fetched"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0071"
down_revision = "0070"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("machine", "snapshot"):
        op.add_column("image_task", sa.Column(name, sa.String(length=20), nullable=False, server_default=""))
    op.create_index("ix_image_task_machine", "image_task", ["machine"])


def downgrade() -> None:
    op.drop_index("ix_image_task_machine", "image_task")
    for name in ("snapshot", "machine"):
        op.drop_column("image_task", name)
