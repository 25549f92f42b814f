"""Snapshots of a machine's disk: what is wanted of one, and what its node's worker does about it. Pure.

A snapshot is a file of its own: the machine's overlay as it was at one moment, on the same image. Nothing is chained: the disk in use
stays as it is, and each snapshot can go without the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from garage.errors import N_, GarageError

LIMIT = 10
"""Snapshots of one machine."""
GIB = 1 << 30


class SnapshotState(StrEnum):
    MAKING = "making"
    READY = "ready"
    FAILED = "failed"
    DELETING = "deleting"


class How(StrEnum):
    """In what condition the disk was when it was copied."""

    OFF = "off"
    """The machine was off."""
    FROZEN = "frozen"
    """It ran, and its file systems stood still."""
    CRASH = "crash"
    """It ran, and the copy is as after a power cut."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted of a snapshot."""

    id: str
    remove: bool = False
    frozen: bool = True
    """Where the machine runs."""


def room_gib(size: int) -> int:
    """What a file of `size` bytes takes of a quota, in whole GiB."""
    return max(1, -(-size // GIB))


def not_frozen(reason: str) -> GarageError:
    return GarageError(
        "unavailable",
        N_("its file systems could not be frozen: {reason}"),
        hint=N_("stop the machine first, or ask for a snapshot as after a power cut (--crash-consistent)"),
        reason=reason[:300],
    )
