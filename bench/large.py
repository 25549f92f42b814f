"""A garage with 25,000 machines of 200 projects on 1,250 simulated nodes: real web and worker processes on SQLite."""

from __future__ import annotations

import gc
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Table, bindparam, select, update

from garage.app import BY_HAND
from garage.burnin.trial import Trial
from garage.core.states import State
from garage.db.models import Machine, Membership, Node, Project, User
from garage.services import accounts, api_tokens, fleet

NODES, MACHINES, PROJECTS, PEOPLE = 1250, 25_000, 200, 100
PAGE = 50
ROUNDS = 40
"""Times each kind of request is sent."""
AGE = 90 * 86_400.0
"""Seconds over which the machines were asked for: all at once they would be a demand for which pools are filled for minutes."""
DEEP = 20
"""Pages into the list from which one is asked for, too."""
KINDS: dict[str, dict[str, str]] = {
    "newest": {},
    "by name": {"sort": "name"},
    "by lease": {"sort": "lease"},
    "by state": {"sort": "state"},
    "stopped, by name": {"state": "stopped", "sort": "name"},
    "stopped, by lease": {"state": "stopped", "sort": "lease"},
    "ready, newest": {"state": "ready"},
    "of a project, by name": {"project": "p117", "sort": "name"},
    "of a project, by lease": {"project": "p117", "sort": "lease"},
    "part of a name": {"search": "77-1"},
    "part of a name, by lease": {"search": "77-1", "sort": "lease"},
    "nothing found": {"search": "zebra", "sort": "name"},
}


class Large(Trial):
    """`with Large() as garage`."""

    def __init__(self, *, machines: int = MACHINES, nodes: int = NODES) -> None:
        super().__init__(nodes=nodes, workers=("worker1",))
        self._rng = random.Random(25)
        fleet.add_machines(self.ctx, machines, self.nodes)
        self.token, self.cookie = self._people()
        self._spread()
        self._domains()

    def _people(self) -> tuple[str, str]:
        """Users and projects; the token and the browser's cookie of one of them, who is in three projects."""
        quota = {f"quota_{key}": fleet.AMPLE for key in ("machines", "vcpus", "memory_mib", "disk_gib")}
        _, link = accounts.create_user(self.ctx, BY_HAND, "somebody")
        member, cookie = accounts.accept_invitation(self.ctx, link, "password of a benchmark", "192.0.2.1")
        with self.ctx.db.write() as session:
            now = self.ctx.clock()
            session.add_all(User(id=f"u{number}", name=f"user{number}", created_at=now) for number in range(PEOPLE))
            session.flush()
            for number in range(PROJECTS):
                session.add(Project(id=f"p{number:03}", name=f"p{number}", created_at=now, **quota))
                session.flush()
                owners = [f"u{number % PEOPLE}", *([member.user_id] if number in (50, 117) else [])]
                session.add_all(Membership(project_id=f"p{number:03}", user_id=owner, role="owner") for owner in owners)
        return api_tokens.create(self.ctx, member, "bench")[1], cookie

    def _spread(self) -> None:
        """Machines dealt out to projects, one in ten stopped, asked for over `AGE` and with leases that end at different times."""
        with self.ctx.db.write() as session:
            ids = list(session.scalars(select(Machine.id).order_by(Machine.id)))
            rows = []
            for number, key in enumerate(ids):
                off = self._rng.random() < 0.1
                rows.append({
                    "key": key, "project": f"p{number % PROJECTS:03}", "user": f"u{number % PROJECTS % PEOPLE}",
                    "state_": (State.STOPPED if off else State.READY).value, "runs": not off,
                    "created": self.ctx.clock() - self._rng.uniform(0, AGE),
                    "until": self.ctx.clock() + self._rng.uniform(2, 30) * 86_400,
                })  # fmt: skip
            change: dict[str, Any] = {
                **{"project_id": bindparam("project"), "created_by": bindparam("user"), "state": bindparam("state_")},
                **{"wants_running": bindparam("runs"), "started": bindparam("runs"), "lease_until": bindparam("until")},
                "created_at": bindparam("created"),
            }
            table: Table = Machine.__table__  # type: ignore[assignment]
            session.connection().execute(update(table).where(table.c.id == bindparam("key")).values(change), rows)

    def _domains(self) -> None:
        """Each node's file says that its machines are what their rows say."""
        with self.ctx.db.read() as session:
            hypervisors = dict(session.execute(select(Node.name, Node.hypervisor)).all())
            columns = (Machine.node, Machine.id, Machine.state, Machine.memory_mib)
            found: dict[str, dict[str, Any]] = {}
            for node, key, state, memory in session.execute(select(*columns)):
                content = found.setdefault(node, {"domains": {}, "disks": {}})
                power = ["running", "other"] if state == State.READY.value else ["off", "guest"]
                content["domains"][key] = [*power, 0.0, None, memory]
                content["disks"][key] = ["disk", "seed"]
        for node, content in found.items():
            Path(hypervisors[node].removeprefix("fake://").partition("?")[0]).write_text(json.dumps(content))

    def settled(self) -> bool:
        """The worker has every node, and nothing is under way with anybody's machine; spares of pools come and go."""
        with self.ctx.db.read() as session:
            owned = session.scalars(select(Node.owner)).all()
            states = set(session.scalars(select(Machine.state).where(Machine.project_id.is_not(None)).distinct()))
        return all(owned) and states == {State.READY.value, State.STOPPED.value}


@contextmanager
def uncollected() -> Iterator[None]:
    """The benchmark itself holds a whole garage: its own collector would stop it for 0.07 s in the middle of an answer."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def measure(ask: Callable[[dict[str, str]], float], queries: dict[str, dict[str, str]]) -> dict[str, list[float]]:
    """Milliseconds of each query, `ROUNDS` times; they take turns, so that what else the server does hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in queries}
    for query in queries.values():
        ask(query)  # the first one prepares statements and templates
    with uncollected():
        for _ in range(ROUNDS):
            for name, query in queries.items():
                times[name].append(ask(query))
    return times


def p95(times: list[float]) -> float:
    return statistics.quantiles(times, n=20)[-1]


def timed(http: httpx.Client, path: str, query: dict[str, str]) -> tuple[float, httpx.Response]:
    """Milliseconds from the request to the whole of the answer, and the answer."""
    began = time.perf_counter()
    answer = http.get(path, params=query)
    took = 1000 * (time.perf_counter() - began)
    assert answer.status_code == 200, answer.text[:500]
    return took, answer


def told(found: dict[str, float]) -> str:
    """The three slowest kinds."""
    slowest = sorted(found.items(), key=lambda item: -item[1])[:3]
    return ", ".join(f"{name} {value:.0f}" for name, value in slowest)
