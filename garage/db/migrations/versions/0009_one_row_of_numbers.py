"""Taps and MACs are numbered once for the whole garage: a machine keeps both when it moves to another node"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

KEY = "next_number"


def upgrade() -> None:
    node, setting = (
        sa.table("node", sa.column("next_number")),
        sa.table("setting", sa.column("key"), sa.column("value")),
    )
    highest = op.get_bind().scalar(sa.select(sa.func.max(node.c.next_number)))
    if highest is not None:
        op.execute(setting.insert().values(key=KEY, value=str(highest)))
    with op.batch_alter_table("node", schema=None) as batch_op:
        batch_op.drop_column("next_number")


def downgrade() -> None:
    setting = sa.table("setting", sa.column("key"), sa.column("value"))
    highest = op.get_bind().scalar(sa.select(setting.c.value).where(setting.c.key == KEY)) or "1"
    with op.batch_alter_table("node", schema=None) as batch_op:
        batch_op.add_column(sa.Column("next_number", sa.Integer(), nullable=False, server_default=highest))
    op.execute(setting.delete().where(setting.c.key == KEY))
