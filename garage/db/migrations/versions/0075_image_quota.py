"""A project's quota of stored images"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0075"
down_revision = "0074"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("project", sa.Column("quota_image_gib", sa.Integer(), nullable=False, server_default="50"))
    for table, name in (("image", "bytes"), ("image_task", "reserved")):
        op.add_column(table, sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    image = sa.table("image", sa.column("id"), sa.column("manifest", sa.JSON()), sa.column("bytes"))
    bind = op.get_bind()
    for row in bind.execute(sa.select(image.c.id, image.c.manifest)).all():
        size = int(row.manifest.get("bytes") or 0)
        bind.execute(image.update().where(image.c.id == row.id).values(bytes=size))


def downgrade() -> None:
    for table, name in (("image_task", "reserved"), ("image", "bytes"), ("project", "quota_image_gib")):
        op.drop_column(table, name)
