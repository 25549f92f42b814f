"""A machine's seed: its identity as the guest reads it at its first boot."""

from __future__ import annotations

import os

from garage.core import seed
from garage.services import work
from garage.services.context import Context

ENTROPY_BYTES = 64


def seed_files(ctx: Context, machine_id: str) -> dict[str, bytes]:
    """File name → content of the machine's seed disk. Holds secrets, but for a pool machine's."""
    if (place := work.spare_place(ctx, machine_id)) is not None:
        return seed.spare_files(machine_id, seed.Place(*place))
    return seed.seed_files(_identity(ctx, machine_id))


def take(ctx: Context, machine_id: str) -> tuple[str, bytes]:
    """(script, standard input) that make a running pool machine what its row says. Holds secrets."""
    who = _identity(ctx, machine_id)
    return seed.TAKE, seed.take_input(who, os.urandom(ENTROPY_BYTES), ctx.clock())


def _identity(ctx: Context, machine_id: str) -> seed.Identity:
    who = work.identity(ctx, machine_id)
    return seed.Identity(
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
        own_mac=who.own_mac,
        again="" if who.reverted_at is None else f"{who.reverted_at:.3f}",
    )
