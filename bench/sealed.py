"""`audit.seal`: seconds from an event to the seal of its entry in the audit log, in a garage of 1,250 nodes."""

from __future__ import annotations

import statistics
import time

import httpx
from sqlalchemy import func, select

from bench.large import Large
from bench.record import Figure, benchmark
from garage.db.models import Audit
from garage.db.people_models import AuditSeal

EVENTS, BURST = 120, 40
"""One by one, then as fast as they are answered."""
BETWEEN = 0.25


@benchmark("audit.seal")
def seal() -> Figure:
    """The longest of 160, by the clock of both rows."""
    with Large() as garage:
        assert garage.wait(garage.settled, 600)
        with garage.ctx.db.read() as session:
            before = session.scalar(select(func.max(Audit.id))) or 0
        _act(garage)
        assert garage.wait(lambda: len(_delays(garage, before)) == EVENTS + BURST, 60)
        delays = sorted(_delays(garage, before))
    note = f"median {statistics.median(delays):.2f}, p95 {statistics.quantiles(delays, n=20)[-1]:.2f}; 1,250 nodes, one worker, SQLite"
    return Figure("audit.seal", delays[-1], "s", len(delays), note)


def _act(garage: Large) -> None:
    headers = {"Authorization": f"Bearer {garage.profile.token}"}
    with httpx.Client(base_url=garage.profile.url, headers=headers, trust_env=False, timeout=60) as http:
        machine = http.get("/api/v1/machines", params={"limit": "1"}).json()["items"][0]["id"]
        for number in range(EVENTS + BURST):
            answer = http.post(f"/api/v1/machines/{machine}/renew", json={"days": 90 - 1 / (number + 1)})
            assert answer.status_code == 200, answer.text[:500]
            time.sleep(BETWEEN if number < EVENTS else 0)


def _delays(garage: Large, before: int) -> list[float]:
    query = select(AuditSeal.sealed_at - Audit.at).join(Audit, Audit.id == AuditSeal.entry)
    with garage.ctx.db.read() as session:
        return [
            float(each) for each in session.scalars(query.where(Audit.id > before, Audit.action == "machine.renew"))
        ]
