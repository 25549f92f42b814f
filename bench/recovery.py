"""`recovery.worker`, `recovery.controller`: seconds after SIGKILL until the work goes on, with real processes and simulated nodes."""

from __future__ import annotations

import random
import subprocess
import time

from sqlalchemy import func, select

from bench.controllers import Site, kill, site, until
from bench.record import Figure, benchmark
from garage.core.states import State
from garage.db.models import Machine
from garage.services import fleet

RUNS = 5
NODES = 100


@benchmark("recovery.worker")
def worker() -> Figure:
    """From the death of one of two workers until a machine that was asked for at that moment is ready on each of its nodes."""
    with site() as made:
        fleet.add_nodes(made.ctx, NODES, fleet.Model(folder=str(made.folder / "nodes")))
        workers = {home: made.start("worker", home) for home in ("one", "two")}
        runs = [_lose_one(made, workers) for _ in range(RUNS)]
    owned, seconds = ([run[part] for run in runs] for part in (0, 1))
    note = f"the worst; best {min(seconds):.2f}; its nodes were owned again after {max(owned):.2f}; {NODES} nodes"
    note += "; the two are on different servers as far as they can see: no lock file tells"
    return Figure("recovery.worker", max(seconds), "s", RUNS, note)


def _lose_one(made: Site, workers: dict[str, subprocess.Popen[bytes]]) -> tuple[float, float]:
    """(seconds until all of its nodes have another owner, until all of the machines are ready)"""
    until(lambda: _shared(made, {process.pid for process in workers.values()}))
    time.sleep(random.uniform(0, 1))  # at any time between two beats
    victim = workers["two"]
    orphans = [name for name, pid in made.owners().items() if pid == victim.pid]
    kill(victim)
    begun, ready = time.monotonic(), _ready(made) + len(orphans)
    fleet.add_machines(made.ctx, len(orphans), orphans, state=State.PREPARING, sizes=("tiny",))
    until(lambda: victim.pid not in made.owners().values())
    owned = time.monotonic() - begun
    until(lambda: _ready(made) == ready)
    taken = time.monotonic() - begun
    workers["two"] = made.start("worker", "two")
    return owned, taken


def _shared(made: Site, pids: set[int]) -> bool:
    """Every node is owned, and both have their part."""
    owners = made.owners()
    return len(owners) == NODES + 1 and set(owners.values()) == pids and abs(_part(owners) - NODES / 2) < 2


def _part(owners: dict[str, int]) -> int:
    first = min(owners.values())
    return sum(pid == first for pid in owners.values())


def _ready(made: Site) -> int:
    with made.ctx.db.read() as session:
        return session.scalar(select(func.count()).where(Machine.state == State.READY.value)) or 0


@benchmark("recovery.controller")
def controller() -> Figure:
    """From the death of web and worker until `/readyz` says that all is well, and a machine that was asked for at that moment is ready."""
    with site() as made:
        fleet.add_machines(made.ctx, 1, [made.ctx.config.node])
        processes = [made.start(what) for what in ("web", "worker")]
        seconds = [_lose_both(made, processes) for _ in range(RUNS)]
    note = f"the worst; best {min(seconds):.2f}; started again at once, as runit does; systemd's units wait a second more (RestartSec)"
    return Figure("recovery.controller", max(seconds), "s", RUNS, note)


def _lose_both(made: Site, processes: list[subprocess.Popen[bytes]]) -> float:
    node = made.ctx.config.node
    until(lambda: made.owners().get(node) == processes[1].pid and made.is_ready())
    for process in processes:
        kill(process)
    begun, ready = time.monotonic(), _ready(made) + 1
    processes[:] = [made.start(what) for what in ("web", "worker")]
    fleet.add_machines(made.ctx, 1, [node], state=State.PREPARING, sizes=("tiny",))
    until(lambda: _ready(made) == ready and made.is_ready())
    return time.monotonic() - begun
