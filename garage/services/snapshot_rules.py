"""What snapshots of machines and of volumes have in common."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from garage.core import names
from garage.core.snapshots import LIMIT
from garage.errors import N_, GarageError
from garage.services.context import Context


def named(ctx: Context, name: str) -> str:
    """The name of a new one; where none was given it is made up."""
    return names.check_label(name, field="name") if name else f"s-{ctx.rng.getrandbits(24):06x}"


def check_new(of: str, name: str, taken: Collection[str]) -> None:
    """Raises where `of`, a machine's or volume's name, has one of that name, or as many as it can have."""
    if name in taken:
        raise GarageError(
            "already_exists",
            N_("{of} has a snapshot named {name} already"),
            hint=N_("take another name, or delete that one first"),
            pointer="/name",
            of=of,
            name=name,
        )
    if len(taken) >= LIMIT:
        raise GarageError(
            "quota_exceeded",
            N_("{of} has {limit} snapshots, as many as it can have"),
            hint=N_("delete one that you no longer need"),
            of=of,
            limit=LIMIT,
        )


def not_there(of: str, name: str, command: str, pointer: str = "") -> GarageError:
    """`command` lists those of `of`."""
    hint = N_("“{command} {of}” shows them")
    values: dict[str, Any] = {"of": of, "name": name[:64], "command": command}
    return GarageError("not_found", N_("{of} has no snapshot {name}"), hint=hint, pointer=pointer, **values)


def not_ready(of: str, name: str, command: str) -> GarageError:
    return GarageError(
        "wrong_state",
        N_("the snapshot {snapshot} of {of} is not there"),
        hint=N_("“{command} {of}” shows those that are ready"),
        of=of,
        snapshot=name,
        command=command,
    )
