"""Sign-in by OpenID Connect"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0061"
down_revision = "0060"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("session") as table:
        table.add_column(sa.Column("method", sa.String(length=16), nullable=False, server_default="password"))
    op.create_table(
        "identity",
        sa.Column("issuer", sa.String(length=500), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("user_id", sa.String(length=20), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"]),
        sa.PrimaryKeyConstraint("issuer", "subject"),
    )
    op.create_index("ux_identity_user", "identity", ["user_id", "issuer"], unique=True)


def downgrade() -> None:
    op.drop_table("identity")
    with op.batch_alter_table("session") as table:
        table.drop_column("method")
