"""Several nodes: how each is reached, what it is for, and where machines may be and go"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("node", schema=None) as batch_op:
        batch_op.add_column(sa.Column("address", sa.String(length=255), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("ssh_host_key", sa.String(length=800), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("state", sa.String(length=16), nullable=False, server_default="active"))
        batch_op.add_column(sa.Column("state_since", sa.Double(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("labels", sa.JSON(), nullable=False, server_default="{}"))
        batch_op.add_column(sa.Column("silent_since", sa.Double(), nullable=True))
    with op.batch_alter_table("machine", schema=None) as batch_op:
        batch_op.add_column(sa.Column("moving_to", sa.String(length=32), nullable=True))
        batch_op.add_column(sa.Column("moved_percent", sa.Integer(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("apart", sa.String(length=32), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("node_labels", sa.JSON(), nullable=False, server_default="{}"))
        batch_op.create_foreign_key("fk_machine_moving_to", "node", ["moving_to"], ["name"])


def downgrade() -> None:
    with op.batch_alter_table("machine", schema=None) as batch_op:
        batch_op.drop_constraint("fk_machine_moving_to", type_="foreignkey")
        for name in ("node_labels", "apart", "moved_percent", "moving_to"):
            batch_op.drop_column(name)
    with op.batch_alter_table("node", schema=None) as batch_op:
        for name in ("silent_since", "labels", "state_since", "state", "ssh_host_key", "address"):
            batch_op.drop_column(name)
