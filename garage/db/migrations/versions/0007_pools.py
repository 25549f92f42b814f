"""Pool machines: nobody's until they are taken"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("machine", schema=None) as batch_op:
        batch_op.alter_column("project_id", existing_type=sa.String(length=20), nullable=True)
        batch_op.alter_column("created_by", existing_type=sa.String(length=20), nullable=True)
        batch_op.add_column(sa.Column("warm", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.add_column(sa.Column("taken", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.add_column(sa.Column("cold_reason", sa.String(length=16), nullable=False, server_default="off"))
    op.create_table(
        "pool",
        sa.Column("image", sa.String(length=64), nullable=False),
        sa.Column("size", sa.String(length=32), nullable=False),
        sa.Column("fixed", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("image", "size"),
    )


def downgrade() -> None:
    op.drop_table("pool")
    op.execute("DELETE FROM machine WHERE project_id IS NULL")
    with op.batch_alter_table("machine", schema=None) as batch_op:
        batch_op.drop_column("cold_reason")
        batch_op.drop_column("taken")
        batch_op.drop_column("warm")
        batch_op.alter_column("created_by", existing_type=sa.String(length=20), nullable=False)
        batch_op.alter_column("project_id", existing_type=sa.String(length=20), nullable=False)
