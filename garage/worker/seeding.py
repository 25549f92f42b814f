"""A machine's seed: its identity as cloud-init reads it."""

from __future__ import annotations

import json

from garage.services import work
from garage.services.context import Context


def seed_files(ctx: Context, machine_id: str) -> dict[str, bytes]:
    """File name → content of the machine's NoCloud seed. Holds secrets."""
    who = work.identity(ctx, machine_id)
    return {
        "meta-data": json.dumps({"instance-id": who.id, "local-hostname": who.name}).encode(),
        "user-data": b"#cloud-config\n",
    }
