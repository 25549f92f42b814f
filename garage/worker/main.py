"""The worker process: one thread per node, one that watches the database, one that writes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

from garage.config import Config
from garage.core.types import NodeAccess
from garage.db.session import ChangeWatch
from garage.services import work
from garage.services.context import Context
from garage.worker import backends
from garage.worker.housekeeping import Housekeeper
from garage.worker.loop import Backend, NodeLoop
from garage.worker.ownership import Keeper, ServerLock
from garage.worker.recorder import Recorder
from garage.worker.seeding import seed_files, take
from garage.worker.watchman import Watchman

log = logging.getLogger(__name__)
POLL = 0.05
"""Seconds between looks at whether anybody committed."""
OpenBackend = Callable[[NodeAccess, Config, Callable[[], None]], Backend]


def run(
    ctx: Context, config: Config, stop: threading.Event, *, open_backend: OpenBackend = backends.open_backend
) -> None:
    """Work until `stop` is set; returns when what was begun has ended. Machines go on without a worker."""
    lock = ServerLock(config.home / "run" / "worker.lock")
    lock.take()
    recorder = Recorder(ctx)
    work.set_parked(ctx, False)
    watchman = Watchman(ctx)
    nodes = [_node(ctx, config, access, lock, recorder, watchman, open_backend) for access in work.nodes(ctx)]
    threads = [threading.Thread(target=loop.run, args=(stop,), name=f"node-{name}") for name, loop, _ in nodes]
    for thread in threads:
        thread.start()
    _watch(ctx, [loop for _, loop, _ in nodes], watchman, stop)
    for thread in threads:
        thread.join()
    for _, _, backend in nodes:
        backend.prober.close()
        backend.hypervisor.close()
    recorder.close()
    lock.drop()


def _node(
    ctx: Context,
    config: Config,
    access: NodeAccess,
    lock: ServerLock,
    recorder: Recorder,
    watchman: Watchman,
    open_backend: OpenBackend,
) -> tuple[str, NodeLoop, Backend]:
    bell = threading.Event()  # the prober rings it, and exists before the loop does
    backend = open_backend(access, config, bell.set)
    name = access.name
    keeper = Keeper(ctx, name, lock, time.monotonic)
    loop = NodeLoop(
        ctx,
        name,
        keeper,
        backend,
        recorder,
        partial(seed_files, ctx),
        partial(take, ctx),
        bell=bell,
        verdict=lambda: watchman.verdict,
    )
    return name, loop, backend


def _watch(ctx: Context, loops: list[NodeLoop], watchman: Watchman, stop: threading.Event) -> None:
    """Wake all nodes when anybody committed, and look for their signs of life, until `stop`."""
    watch: ChangeWatch | None = None
    housekeeper = Housekeeper(ctx)
    while not stop.wait(POLL):
        try:
            watch = watch or ChangeWatch(ctx.db)
            if watch.changed():
                for loop in loops:
                    loop.changed()
            watchman.turn()
            housekeeper.turn()
        except Exception as error:  # noqa: BLE001  (a database that is away must not end the worker)
            log.warning("the database does not answer: %s", error)
            watch = None
            stop.wait(1.0)
    for loop in loops:
        loop.wake()
