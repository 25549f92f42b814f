"""Volumes: disks that outlive machines. What is wanted of one, and what its node's worker is told of it. Pure.

A volume is a sparse raw file on one node. A guest knows it by its serial, which is its id: `/dev/disk/by-id/virtio-ID`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from garage.core.snapshots import Order

LIMIT = 8
"""Volumes of one machine: vdc to vdj."""
MOST_GIB = 16_384
"""Of one volume; ext4's own limit on a file."""


class VolumeState(StrEnum):
    MAKING = "making"
    AVAILABLE = "available"
    """It is there, and no machine has it."""
    ATTACHING = "attaching"
    ATTACHED = "attached"
    DETACHING = "detaching"
    REVERTING = "reverting"
    """A copy of one of its snapshots takes its place; no machine that runs has it meanwhile."""
    DELETING = "deleting"
    FAILED = "failed"
    """It could not be made."""


HELD = (VolumeState.ATTACHING, VolumeState.ATTACHED)
"""In which a machine's domain is to have it."""


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume's row, as far as the worker acts on it. Sizes in GiB."""

    id: str
    name: str
    state: VolumeState
    size_gib: int
    made_gib: int = 0
    """How large it is by now; 0 before it is made."""
    slot: int = 0
    """Among the volumes of its machine."""
    request: str = ""
    """The id of the request that it goes back to, for logs."""
    orders: tuple[Order, ...] = ()
    """What is wanted of its snapshots."""
    revert_to: str = ""
    """The snapshot to which it returns."""


def by_id(volume_id: str) -> str:
    """Its path in a guest."""
    return f"/dev/disk/by-id/virtio-{volume_id}"


def free_slot(taken: Iterable[int]) -> int | None:
    """The first that none of a machine's volumes has; None where it has as many as it can have."""
    return min(set(range(LIMIT)) - set(taken), default=None)
