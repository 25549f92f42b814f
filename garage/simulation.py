"""`garage-server simulate`: a policy tried out on a simulated fleet, with the garage's own services and a database that is thrown away."""

from __future__ import annotations

import heapq
import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select

from garage.config import Config
from garage.core.arrivals import MINUTE, Arrival, Load, Sample, at_first, later, sample
from garage.core.states import Event
from garage.core.types import SIZES
from garage.db.migrate import migrate
from garage.db.models import Machine
from garage.db.node_models import NodeLoad
from garage.db.session import Database
from garage.errors import GarageError
from garage.services import capacity, fleet, images, machines, projects, setup
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from garage.services.transitions import fire
from garage.services.vault import Vault

KINDS = (
    (0.5, fleet.Model(vcpus=16, memory_mib=32_768, disk_gib=500)),
    (0.3, fleet.Model(vcpus=32, memory_mib=65_536, disk_gib=1000)),
    (0.2, fleet.Model(vcpus=64, memory_mib=131_072, disk_gib=2000)),
)
"""Servers as a garage has them: no two batches alike. The part of the fleet, and what they are like."""
SAMPLES = 50
PER_PROJECT = 50
AMPLE = {"machines": 10_000, "vcpus": 100_000, "memory_mib": 1 << 30, "disk_gib": 1 << 20}
LARGEST = max(SIZES, key=lambda size: size.memory_mib).demand
Tell = Callable[[float, str], None]
"""Told how much is done (0 to 1), and what."""


@dataclass
class Clock:
    """Simulated seconds."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Tally:
    """What came of it so far."""

    asked: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """By error code."""
    seconds: list[float] = field(default_factory=list)
    """Real ones, per request during the simulated time."""
    samples: list[Sample] = field(default_factory=list)


def simulate(config: Config, nodes: int, load: Load, seed: int, tell: Tell) -> dict[str, Any]:
    """One run with `config.placement_policy`. The same arguments give the same answer, but for `place_ms_…`."""
    with _garage(config, nodes) as (ctx, admin, clock):
        run = _Run(ctx, admin, clock, load, random.Random(seed), tell)  # noqa: S311  (a simulation)
        run.go()
        return {"policy": config.placement_policy, "nodes": nodes, "minutes": load.minutes, **_figures(run.tally)}


@contextmanager
def _garage(config: Config, nodes: int) -> Iterator[tuple[Context, Caller, Clock]]:
    with tempfile.TemporaryDirectory(prefix="garage-simulation-") as folder:
        config = replace(config, home=Path(folder), database_url="", site_ipv4=fleet.PREFIX4, site_ipv6="fd00::/48")
        database, clock = Database(config.sqlalchemy_url), Clock()
        migrate(database)
        ctx = Context(
            database, config, clock, random.Random(0), Vault(Fernet.generate_key()), Ed25519PrivateKey.generate()  # noqa: S311
        )  # fmt: skip
        admin = setup.seed(ctx, admin="simulation", node_token="nobody")  # noqa: S106  (no node, no netd)
        left = nodes
        for number, (part, model) in enumerate(KINDS, 1):
            some = left if number == len(KINDS) else min(left, round(part * nodes))
            fleet.add_nodes(ctx, some, model, prefix=f"kind{number}-")
            left -= some
        images.register(ctx, machines.DEFAULT_IMAGE, fleet.IMAGE, {"name": machines.DEFAULT_IMAGE})
        try:
            yield ctx, admin, clock
        finally:
            database.close()


def _when(event: tuple[float, Arrival | None]) -> float:
    return event[0]


class _Run:
    """Arrivals and departures in their order."""

    def __init__(self, ctx: Context, admin: Caller, clock: Clock, load: Load, rng: random.Random, tell: Tell) -> None:
        self._ctx, self._admin, self._clock, self._load, self._tell = ctx, admin, clock, load, tell
        self._began, self._order = clock.now, count()
        self._first, self._later = at_first(load, rng), later(load, rng)
        self._leaving: list[tuple[float, int, str]] = []
        self.tally = Tally()
        for number in range(load.machines // PER_PROJECT + 1):
            projects.create(ctx, admin, f"p{number}")
            projects.set_quota(ctx, admin, f"p{number}", AMPLE)

    def go(self) -> None:
        self._at(0.0)
        for number, arrival in enumerate(self._first):
            self._arrive(arrival, timed=False)
            self._tell(0.5 * number / len(self._first), "filling")
        end = self._load.minutes * MINUTE
        looks: Iterator[tuple[float, Arrival | None]] = (
            (end * number / SAMPLES, None) for number in range(1, SAMPLES + 1)
        )
        asks = ((each.at, each) for each in self._later)
        for at, ask in heapq.merge(looks, asks, key=_when):
            self._leave_until(at)
            self._at(at)
            if ask is None:
                self._look()
            else:
                self._arrive(ask, timed=True)
            self._tell(0.5 + 0.5 * at / end, "running")

    def _at(self, seconds: float) -> None:
        self._clock.now = self._began + seconds

    def _arrive(self, arrival: Arrival, *, timed: bool) -> None:
        number = next(self._order)
        project = f"p{number % (self._load.machines // PER_PROJECT + 1)}"
        began = time.perf_counter()
        try:
            made = machines.create(
                self._ctx, self._admin, NewMachine(name=f"m{number}", project=project, size=arrival.size)
            )
        except GarageError as error:
            self.tally.refused[error.code] += 1
        else:
            heapq.heappush(self._leaving, (arrival.at + arrival.lasts, number, made.id))
        self.tally.asked += 1
        if timed:
            self.tally.seconds.append(time.perf_counter() - began)

    def _leave_until(self, at: float) -> None:
        while self._leaving and self._leaving[0][0] <= at:
            when, _, machine = heapq.heappop(self._leaving)
            self._at(when)
            machines.delete(self._ctx, self._admin, machine)
            with self._ctx.db.write() as session:
                fire(session, self._ctx, session.get_one(Machine, machine), Event.DELETED)

    def _look(self) -> None:
        with self._ctx.db.read() as session:
            takes = set(session.scalars(select(NodeLoad.node).where(NodeLoad.takes.is_(True))))
            rooms = [room for room in capacity.rooms(session, self._ctx) if room.name in takes]
            self.tally.samples.append(sample(rooms, LARGEST))


def _figures(tally: Tally) -> dict[str, Any]:
    names = list(asdict(tally.samples[0]))
    means = {name: statistics.fmean(getattr(each, name) for each in tally.samples) for name in names}
    cuts = statistics.quantiles(tally.seconds, n=20) if len(tally.seconds) > 1 else [0.0] * 19
    return {
        "asked": tally.asked,
        "refused": sum(tally.refused.values()),
        "refused_why": dict(sorted(tally.refused.items())),
        **{name: round(value, 4) for name, value in means.items()},
        "place_ms_p50": round(1000 * cuts[9], 2),
        "place_ms_p95": round(1000 * cuts[18], 2),
    }
