"""What a node's loop is given: the node's outside world, and what all loops of a worker share."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Protocol

from garage.core.hypervisor_types import Disks, Hypervisor, Images, Prober
from garage.core.silence import Verdict
from garage.services.context import Context
from garage.worker.chores import Chores
from garage.worker.recorder import Recorder
from garage.worker.watchman import NOTHING


class Runs(Protocol):
    """Runs what may take long, in time (`turns.Crowd`)."""

    def submit(self, key: Hashable, work: Callable[[], None], limit: int = 1) -> None: ...


@dataclass(frozen=True, slots=True)
class Backend:
    """A node's outside world."""

    hypervisor: Hypervisor
    disks: Disks
    prober: Prober
    network_there: Callable[[str], bool]
    """Whether the bridge of that name exists on the node, as far as that is known without waiting for the node."""
    images: Images | None = None
    """None: every image is there."""


@dataclass(frozen=True, slots=True)
class Shop:
    """What the loops of a worker share."""

    ctx: Context
    recorder: Recorder
    crowd: Runs
    chores: Chores
    sure: Callable[[str], bool]
    """Nobody else can have taken the place of the worker of this id: asked before every effect."""
    seed_files: Callable[[str], dict[str, bytes]]
    take: Callable[[str], tuple[str, bytes]]
    verdict: Callable[[], Verdict] = lambda: NOTHING
    """Which nodes are silent."""
    monotonic: Callable[[], float] = time.monotonic
