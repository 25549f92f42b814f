"""A machine's seed: its identity as the guest reads it at its first boot."""

from __future__ import annotations

from garage.core import seed
from garage.services import work
from garage.services.context import Context


def seed_files(ctx: Context, machine_id: str) -> dict[str, bytes]:
    """File name → content of the machine's seed disk. Holds secrets."""
    who = work.identity(ctx, machine_id)
    return seed.seed_files(
        seed.Identity(
            machine_id=who.id,
            hostname=who.name,
            fqdn=who.fqdn,
            host_key_private=who.host_key_private.decode(),
            host_key_public=who.host_key_public,
            authorized_keys=who.authorized_keys,
            ipv4=who.ipv4,
            gateway=who.gateway,
            ipv6=who.ipv6,
            gateway6=who.gateway6,
            user_data=who.user_data,
        )
    )
