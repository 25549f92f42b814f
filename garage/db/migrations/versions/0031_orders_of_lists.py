"""Indexes in the orders in which machines are listed, with what is searched for in them"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0040"
branch_labels = None
depends_on = None

INDEXES = {
    "ix_machine_by_lease": ["lease_until", "id", "name", "ipv4"],
    "ix_machine_by_state": ["state", "id", "name", "ipv4"],
    "ix_machine_by_name": ["name", "id", "ipv4"],
}


def upgrade() -> None:
    exists = sa.text("state != 'gone'")
    for name, columns in INDEXES.items():
        op.create_index(name, "machine", columns, sqlite_where=exists, postgresql_where=exists)


def downgrade() -> None:
    for name in INDEXES:
        op.drop_index(name, table_name="machine")
