"""The registry: sites, their nodes and keys, invitations, links, measurements"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "counter",
        sa.Column("name", sa.String(length=16), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "site",
        sa.Column("id", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("asn", sa.BigInteger(), nullable=False),
        sa.Column("ipv4", sa.String(length=18), nullable=False),
        sa.Column("ipv6", sa.String(length=43), nullable=False),
        sa.Column("proposed_ipv4", sa.String(length=18), nullable=False),
        sa.Column("proposed_ipv6", sa.String(length=43), nullable=False),
        sa.Column("own", sa.Boolean(), nullable=False),
        sa.Column("hub", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("asn"),
        sa.UniqueConstraint("ipv4"),
        sa.UniqueConstraint("ipv6"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "site_invitation",
        sa.Column("id", sa.String(length=20), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("site", sa.String(length=63), nullable=False),
        sa.Column("own", sa.Boolean(), nullable=False),
        sa.Column("adds_node", sa.Boolean(), nullable=False),
        sa.Column("created_by", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("withdrawn_at", sa.Double(), nullable=True),
        sa.Column("used_at", sa.Double(), nullable=True),
        sa.Column("used_key", sa.String(length=44), nullable=False),
        sa.Column("node_id", sa.String(length=20), nullable=False),
        sa.Column("credential", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("hash"),
    )
    with op.batch_alter_table("site_invitation", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_site_invitation_site"), ["site"], unique=False)

    op.create_table(
        "path_hour",
        sa.Column("site_id", sa.String(length=20), nullable=False),
        sa.Column("peer_id", sa.String(length=20), nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.Column("samples", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["peer_id"],
            ["site.id"],
        ),
        sa.ForeignKeyConstraint(
            ["site_id"],
            ["site.id"],
        ),
        sa.PrimaryKeyConstraint("site_id", "peer_id", "hour"),
    )
    with op.batch_alter_table("path_hour", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_path_hour_hour"), ["hour"], unique=False)
        batch_op.create_index(batch_op.f("ix_path_hour_peer_id"), ["peer_id"], unique=False)

    op.create_table(
        "site_node",
        sa.Column("id", sa.String(length=20), nullable=False),
        sa.Column("site_id", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("credential_hash", sa.String(length=64), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("ports", sa.Integer(), nullable=False),
        sa.Column("addresses", sa.JSON(), nullable=False),
        sa.Column("outside4", sa.String(length=15), nullable=False),
        sa.Column("outside6", sa.String(length=39), nullable=False),
        sa.Column("way4", sa.String(length=10), nullable=False),
        sa.Column("way6", sa.String(length=10), nullable=False),
        sa.Column("spec_version", sa.BigInteger(), nullable=False),
        sa.Column("want_key", sa.Integer(), nullable=False),
        sa.Column("applied_version", sa.BigInteger(), nullable=False),
        sa.Column("table_version", sa.BigInteger(), nullable=False),
        sa.Column("refusal", sa.JSON(), nullable=True),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("alarms", sa.JSON(), nullable=False),
        sa.Column("problems", sa.JSON(), nullable=False),
        sa.Column("reported_at", sa.Double(), nullable=True),
        sa.Column("joined_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["site_id"],
            ["site.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("credential_hash"),
        sa.UniqueConstraint("site_id", "name"),
    )
    with op.batch_alter_table("site_node", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_site_node_spec_version"), ["spec_version"], unique=False)

    op.create_table(
        "link",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("a_id", sa.String(length=20), nullable=False),
        sa.Column("b_id", sa.String(length=20), nullable=False),
        sa.Column("a_port", sa.Integer(), nullable=False),
        sa.Column("b_port", sa.Integer(), nullable=False),
        sa.Column("a_key", sa.Integer(), nullable=False),
        sa.Column("b_key", sa.Integer(), nullable=False),
        sa.Column("a_endpoints", sa.JSON(), nullable=False),
        sa.Column("b_endpoints", sa.JSON(), nullable=False),
        sa.Column("psk", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.String(length=10), nullable=False),
        sa.Column("replaces", sa.BigInteger(), nullable=True),
        sa.Column("draining_since", sa.Double(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["a_id"],
            ["site_node.id"],
        ),
        sa.ForeignKeyConstraint(
            ["b_id"],
            ["site_node.id"],
        ),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("slot"),
    )
    with op.batch_alter_table("link", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_link_a_id"), ["a_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_link_b_id"), ["b_id"], unique=False)

    op.create_table(
        "node_key",
        sa.Column("node_id", sa.String(length=20), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=44), nullable=False),
        sa.ForeignKeyConstraint(
            ["node_id"],
            ["site_node.id"],
        ),
        sa.PrimaryKeyConstraint("node_id", "number"),
        sa.UniqueConstraint("key"),
    )
    op.create_table(
        "link_end",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("node_id", sa.String(length=20), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("seen_at", sa.String(length=64), nullable=False),
        sa.Column("preference", sa.Integer(), nullable=True),
        sa.Column("rtt_ms", sa.Double(), nullable=True),
        sa.Column("jitter_ms", sa.Double(), nullable=True),
        sa.Column("loss", sa.Double(), nullable=True),
        sa.Column("mtu", sa.Integer(), nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.Column("sent", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["node_id"],
            ["site_node.id"],
        ),
        sa.ForeignKeyConstraint(
            ["number"],
            ["link.number"],
        ),
        sa.PrimaryKeyConstraint("number", "node_id"),
    )
    with op.batch_alter_table("link_end", schema=None) as batch_op:
        batch_op.create_index("ix_link_end_node", ["node_id"], unique=False)

    counters = sa.table("counter", sa.column("name", sa.String), sa.column("value", sa.BigInteger))
    op.bulk_insert(counters, [{"name": name, "value": 0} for name in ("serial", "table", "link", "dirty")])


def downgrade() -> None:
    with op.batch_alter_table("link_end", schema=None) as batch_op:
        batch_op.drop_index("ix_link_end_node")

    op.drop_table("link_end")
    op.drop_table("node_key")
    with op.batch_alter_table("link", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_link_b_id"))
        batch_op.drop_index(batch_op.f("ix_link_a_id"))

    op.drop_table("link")
    with op.batch_alter_table("site_node", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_site_node_spec_version"))

    op.drop_table("site_node")
    with op.batch_alter_table("path_hour", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_path_hour_peer_id"))
        batch_op.drop_index(batch_op.f("ix_path_hour_hour"))

    op.drop_table("path_hour")
    with op.batch_alter_table("site_invitation", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_site_invitation_site"))

    op.drop_table("site_invitation")
    op.drop_table("site")
    op.drop_table("counter")
