"""An index of the machines on their way to a node: what is wanted of a node is asked at each of its turns"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0082"
down_revision = "0081"
branch_labels = None
depends_on = None


def upgrade() -> None:
    moves = sa.text("moving_to IS NOT NULL")
    op.create_index("ix_machine_moving_to", "machine", ["moving_to"], sqlite_where=moves, postgresql_where=moves)


def downgrade() -> None:
    op.drop_index("ix_machine_moving_to", table_name="machine")
