"""`api.list_25k`, `web.list_25k`, `memory.25k`: a garage of 25,000 machines in 200 projects, looked at by an admin and by a member."""

from __future__ import annotations

import time

import httpx

from bench.large import DEEP, KINDS, MACHINES, PAGE, PROJECTS, ROUNDS, Large, measure, p95, timed, told
from bench.memory import pss_mb
from bench.record import Figure, benchmark
from garage.app import BY_HAND
from garage.services import accounts

SETTLE_SECONDS = 30.0
SAMPLES = 5
WHAT = f"{MACHINES} machines of {PROJECTS} projects, SQLite"
PUBLISHED = 9750.0
"""CloudStack's list of 25,000 virtual machines took 9.75 to 17.3 s (ShapeBlue's published measurements)."""


@benchmark("api.list_25k")
def api() -> Figure:
    """p95 of a page of 50, of the kind of query, the depth and the caller for which it is longest."""
    with Large() as garage:
        found = {f"{name}, admin": ms for name, ms in _api(garage, garage.profile.token).items()}
        found |= {f"{name}, member": ms for name, ms in _api(garage, garage.token).items()}
    return _figure("api.list_25k", found)


def _api(garage: Large, token: str) -> dict[str, list[float]]:
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=garage.profile.url, headers=headers, trust_env=False, timeout=60) as http:

        def ask(query: dict[str, str]) -> float:
            return timed(http, "/api/v1/machines", {"limit": str(PAGE), **query})[0]

        deep = {f"{name}, page {DEEP}": _deep(http, query) for name, query in KINDS.items()}
        return measure(ask, KINDS | {name: query for name, query in deep.items() if "cursor" in query})


def _deep(http: httpx.Client, query: dict[str, str]) -> dict[str, str]:
    """The query of its page `DEEP`; of its last one where there are fewer."""
    for _ in range(DEEP - 1):
        _, answer = timed(http, "/api/v1/machines", {"limit": str(PAGE), **query})
        if (cursor := answer.json()["cursor"]) is None:
            break
        query = {**query, "cursor": cursor}
    return query


@benchmark("web.list_25k")
def web() -> Figure:
    """The same for the page of machines, the whole document."""
    with Large() as garage:
        found = {f"{name}, member": ms for name, ms in _web(garage, garage.cookie).items()}
        link = accounts.reset_link(garage.ctx, BY_HAND, "admin")
        _, cookie = accounts.accept_invitation(garage.ctx, link, "password of a benchmark", "192.0.2.1")
        found |= {f"{name}, admin": ms for name, ms in _web(garage, cookie).items()}
    return _figure("web.list_25k", found)


def _web(garage: Large, cookie: str) -> dict[str, list[float]]:
    with httpx.Client(base_url=garage.profile.url, cookies={"garage": cookie}, trust_env=False, timeout=60) as http:

        def ask(query: dict[str, str]) -> float:
            took, answer = timed(http, "/machines", query)
            assert 'id="rows"' in answer.text
            return took

        return measure(ask, KINDS)


def _figure(name: str, times: dict[str, list[float]]) -> Figure:
    found = {query: p95(took) for query, took in times.items()}
    baseline, value = "CloudStack's published list of 25,000", max(found.values())
    everything = p95([one for took in times.values() for one in took])
    note = f"p95 of the slowest of {len(found)} queries; {WHAT}; {told(found)}; of all together {everything:.0f} ms"
    return Figure(name, value, "ms", len(found) * ROUNDS, note, baseline, PUBLISHED, PUBLISHED / value)


@benchmark("memory.25k")
def memory() -> Figure:
    """web and worker that have looked at everything; netd knows its own node's machines alone (`memory.idle`)."""
    with Large() as garage:
        assert garage.wait(garage.settled, 600)
        _api(garage, garage.profile.token)
        time.sleep(SETTLE_SECONDS)
        samples = []
        for _ in range(SAMPLES):
            samples.append({name: pss_mb(part.pid) for name, part in garage.parts.items()})
            time.sleep(1)
    median = sorted(samples, key=lambda sample: sum(sample.values()))[SAMPLES // 2]
    note = f"PSS: {', '.join(f'{name} {value:.0f}' for name, value in median.items())}; {WHAT}, 1,250 simulated nodes"
    return Figure("memory.25k", sum(median.values()), "MB", SAMPLES, note)
