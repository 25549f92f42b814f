"""Tokens for less than everything, sessions that can be told apart, accounts of programs"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("api_token") as table:
        table.add_column(sa.Column("scope", sa.String(length=16), nullable=False, server_default="all"))
    with op.batch_alter_table("session") as table:
        table.add_column(sa.Column("address", sa.String(length=64), nullable=False, server_default=""))
        table.add_column(sa.Column("agent", sa.String(length=200), nullable=False, server_default=""))
    op.create_table(
        "service_account",
        sa.Column("user_id", sa.String(length=20), nullable=False),
        sa.Column("project_id", sa.String(length=20), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"]),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"]),
        sa.PrimaryKeyConstraint("user_id"),
    )
    op.create_index("ix_service_account_project_id", "service_account", ["project_id"])


def downgrade() -> None:
    op.drop_table("service_account")
    with op.batch_alter_table("session") as table:
        table.drop_column("agent")
        table.drop_column("address")
    with op.batch_alter_table("api_token") as table:
        table.drop_column("scope")
