"""Images that people bring: whose they are, whether they are whole, and those on their way"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("image", schema=None) as batch_op:
        batch_op.add_column(sa.Column("visibility", sa.String(length=8), nullable=False, server_default="all"))
        batch_op.add_column(sa.Column("owner_id", sa.String(length=20), nullable=True))
        batch_op.add_column(sa.Column("project_id", sa.String(length=20), nullable=True))
        batch_op.add_column(sa.Column("deleted_at", sa.Double(), nullable=True))
        batch_op.add_column(sa.Column("verified_at", sa.Double(), nullable=True))
        batch_op.add_column(sa.Column("damaged", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.create_foreign_key("fk_image_owner", "user", ["owner_id"], ["id"])
        batch_op.create_foreign_key("fk_image_project", "project", ["project_id"], ["id"])
    op.create_table(
        "image_task",
        sa.Column("id", sa.String(length=20), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("node", sa.String(length=32), nullable=False),
        sa.Column("url", sa.String(length=2000), nullable=False),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("format", sa.String(length=8), nullable=False),
        sa.Column("boot", sa.String(length=8), nullable=False),
        sa.Column("visibility", sa.String(length=8), nullable=False),
        sa.Column("project_id", sa.String(length=20), nullable=True),
        sa.Column("owner_id", sa.String(length=20), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("step", sa.String(length=16), nullable=False),
        sa.Column("done", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("asked_at", sa.Double(), nullable=False),
        sa.Column("worker", sa.String(length=64), nullable=False),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["user.id"]),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_image_task_owner_id", "image_task", ["owner_id"])


def downgrade() -> None:
    op.drop_table("image_task")
    with op.batch_alter_table("image", schema=None) as batch_op:
        batch_op.drop_constraint("fk_image_project", type_="foreignkey")
        batch_op.drop_constraint("fk_image_owner", type_="foreignkey")
        for name in ("damaged", "verified_at", "deleted_at", "project_id", "owner_id", "visibility"):
            batch_op.drop_column(name)
