"""`make down`: machines that run become `unreachable`, still want to run, and are shut down; the next worker starts them again."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor

from garage.core.hypervisor_types import Hypervisor, Power
from garage.core.plan import ASK_AGAIN
from garage.errors import GarageError
from garage.services import work
from garage.services.context import Context

log = logging.getLogger(__name__)
PARALLEL = 16
POLL = 0.2


def park(
    ctx: Context,
    hypervisor: Hypervisor,
    seconds: float = 60.0,
    *,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Shut this server's machines down within `seconds`, then pull the plug; returns how many ran.

    The worker must be stopped. First the rows, then the domains: killed in between, the next worker finds machines that run.
    """
    work.set_parked(ctx, True)
    mine = set(work.silence(ctx, ctx.config.node))
    there = {key: domain for key, domain in hypervisor.observe().items() if domain.active and key in mine}
    paused = [key for key, domain in there.items() if domain.power is Power.PAUSED]  # they hear nothing
    running = [key for key in there if key not in paused]
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="park") as pool:
        list(pool.map(lambda key: _try(hypervisor.destroy, key), paused))
        left = _wait_for_guests(hypervisor, running, pool, monotonic() + seconds, monotonic, sleep)
        list(pool.map(lambda key: _try(hypervisor.destroy, key), left))
    return len(there)


def _wait_for_guests(
    hypervisor: Hypervisor,
    running: Collection[str],
    pool: ThreadPoolExecutor,
    end: float,
    monotonic: Callable[[], float],
    sleep: Callable[[float], None],
) -> set[str]:
    """Ask, and ask again; returns those that still run at `end`."""
    left, ask_at = set(running), monotonic()
    while left and monotonic() < end:
        if monotonic() >= ask_at:
            list(pool.map(lambda key: _try(hypervisor.shutdown, key), left))
            ask_at = monotonic() + ASK_AGAIN
        there = hypervisor.observe()
        left = {key for key in left if key in there and there[key].active}
        if left:
            sleep(POLL)
    return left


def _try(call: Callable[[str], None], machine_id: str) -> None:
    with contextlib.suppress(GarageError):
        call(machine_id)
