"""Where machines are placed: what nodes hold in one narrow row each, which images they have, why a machine is where it is"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "node_load",
        sa.Column("node", sa.String(length=32), nullable=False),
        sa.Column("takes", sa.Boolean(), nullable=False),
        sa.Column("vcpus", sa.Integer(), nullable=False),
        sa.Column("memory_mib", sa.Integer(), nullable=False),
        sa.Column("available_mib", sa.Integer(), nullable=True),
        sa.Column("disk_free_gib", sa.Double(), nullable=False),
        sa.Column("disk_total_gib", sa.Double(), nullable=False),
        sa.Column("machines", sa.Integer(), nullable=False),
        sa.Column("used_vcpus", sa.Integer(), nullable=False),
        sa.Column("used_memory_mib", sa.Integer(), nullable=False),
        sa.Column("used_disk_gib", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["node"], ["node.name"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("node"),
    )
    op.create_table(
        "node_image",
        sa.Column("node", sa.String(length=32), nullable=False),
        sa.Column("image", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["node"], ["node.name"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("node", "image"),
    )
    with op.batch_alter_table("machine", schema=None) as batch_op:
        batch_op.add_column(sa.Column("placement", sa.JSON(), nullable=False, server_default="{}"))
    for name, columns, where in (
        (
            "ix_machine_project_held",
            ["project_id", "state", "vcpus", "memory_mib", "disk_gib", "apart", "node"],
            "state != 'gone'",
        ),
        ("ix_machine_spare", ["image_id", "size", "node"], "state = 'spare'"),
    ):
        op.create_index(name, "machine", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def downgrade() -> None:
    for name in ("machine_load_new", "machine_load_gone", "machine_load_changed", "node_load_new", "node_load_changed"):
        if op.get_bind().dialect.name == "sqlite":
            op.execute(f"DROP TRIGGER IF EXISTS {name}")
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION IF EXISTS garage_machine_load, garage_node_load CASCADE")
    op.drop_index("ix_machine_spare", "machine")
    op.drop_index("ix_machine_project_held", "machine")
    with op.batch_alter_table("machine", schema=None) as batch_op:
        batch_op.drop_column("placement")
    op.drop_table("node_image")
    op.drop_table("node_load")
