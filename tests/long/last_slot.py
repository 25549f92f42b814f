"""Two thousand requests in the same moment for the last slot of a quota: one gets it. A step of `make test-api`."""

from __future__ import annotations

import asyncio
from collections import Counter

import httpx

from garage.burnin.trial import Trial

ASKED = 2000
AGAIN = 1.0
PATIENCE = httpx.Timeout(600.0)
"""They stand in a line behind one writer."""


def last_slot(garage: Trial, asked: int = ASKED) -> tuple[Counter[str], list[str]]:
    """How often each was answered, and what is wrong with that."""
    api = garage.api()
    api.post("/projects", {"name": "slot"})
    api.put("/projects/slot/quota", {"machines": 1})
    token = api.post("/tokens", {"name": "slot", "days": 1})["token"]
    said = Counter(asyncio.run(_ask_all(garage.profile.url, token, asked)))
    found = len(api.get("/machines", project="slot")["items"])
    wanted = {"201": 1, "quota_exceeded": asked - 1}
    wrong = [f"the last slot: {found} machines, {dict(said)}"] if found != 1 or said != wanted else []
    return said, wrong


async def _ask_all(url: str, token: str, asked: int) -> list[str]:
    limits = httpx.Limits(max_connections=None)
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(
        base_url=f"{url}/api/v1", headers=headers, limits=limits, timeout=PATIENCE, trust_env=False
    ) as http:
        return await asyncio.gather(*(_ask(http) for _ in range(asked)))


async def _ask(http: httpx.AsyncClient) -> str:
    """The status, or a refusal's code; who is told to come again does."""
    while True:
        answer = await http.post("/machines", json={"size": "tiny", "project": "slot"})
        if answer.status_code not in (429, 503):
            return str(answer.status_code) if answer.is_success else str(answer.json()["code"])
        await asyncio.sleep(float(answer.headers.get("Retry-After", AGAIN)))
