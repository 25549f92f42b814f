"""`events.pages_300`: seconds until a change has reached all of 300 pages that watch, web being one process of its own."""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import dataclass, field

from bench.controllers import Site, site, until
from bench.record import Figure, benchmark
from garage.core.states import State
from garage.db.models import Machine
from garage.services import accounts, fleet, machines, projects
from garage.services.context import Caller

PAGES, PEOPLE, CHANGES = 300, 30, 10
BETWEEN = 2.0
"""Seconds from one change to the next."""
PASSWORD = "password of a benchmark"
OWNER = Caller("", "bench", admin=True)


@dataclass
class Page:
    """Holds the stream, and fetches the row anew when it hears of a change, as app.js does. One connection each, as browsers have."""

    port: int
    cookie: str
    path: str
    heard: list[float] = field(default_factory=list)
    shown: list[float] = field(default_factory=list)

    async def open(self) -> None:
        self._events = await self._ask("/api/v1/events")
        self._row = await self._ask(self.path)
        await self._events.readuntil(b"\nid: ")
        await self._answer()

    async def watch(self) -> None:
        while True:
            await self._events.readuntil(b"event: machine")
            self.heard.append(time.monotonic())
            self._send(self._writer, self.path)
            await self._answer()
            self.shown.append(time.monotonic())

    async def _ask(self, path: str) -> asyncio.StreamReader:
        reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)
        self._send(self._writer, path)
        return reader

    def _send(self, writer: asyncio.StreamWriter, path: str) -> None:
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nCookie: garage={self.cookie}\r\n\r\n".encode()
        )

    async def _answer(self) -> None:
        head = (await self._row.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200"), head
        await self._row.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r")[0]))


@benchmark("events.pages_300")
def pages() -> Figure:
    """The worst of ten changes of one machine that all 300 pages show, from its commit to the last page's stream."""
    with site() as made:
        nodes = fleet.add_nodes(made.ctx, 1, fleet.Model(folder=str(made.folder / "nodes")))
        fleet.add_machines(made.ctx, 1, nodes, state=State.STOPPED)
        with made.ctx.db.read() as session:
            machine = session.query(Machine.id).scalar()
        cookies = _people(made)
        port = int(made.listen.rpartition(":")[2])
        made.start("web")
        until(lambda: _listens(port), 60)
        watching = [Page(port, cookies[n % PEOPLE], f"/machines/{machine}/row") for n in range(PAGES)]
        heard, shown = asyncio.run(_run(made, machine, watching))
    median = sorted(heard)[CHANGES // 2]
    note = (
        f"worst of {CHANGES} changes, median {median:.2f}; until all have fetched the row again {max(shown):.2f}; "
        f"{PEOPLE} members, one web process, SQLite, the pages on the same cores"
    )
    return Figure("events.pages_300", max(heard), "s", CHANGES, note)


def _people(made: Site) -> list[str]:
    projects.set_member(made.ctx, OWNER, fleet.PROJECT, "admin", "owner")
    cookies = []
    for number in range(PEOPLE):
        token = accounts.create_user(made.ctx, OWNER, f"member-{number}")[1]
        cookies.append(accounts.accept_invitation(made.ctx, token, PASSWORD, "127.0.0.1")[1])
        projects.set_member(made.ctx, OWNER, fleet.PROJECT, f"member-{number}", "member")
    return cookies


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def _run(made: Site, machine: str, watching: list[Page]) -> tuple[list[float], list[float]]:
    for page in watching:
        await page.open()
    tasks = [asyncio.create_task(page.watch()) for page in watching]
    begun = []
    for number in range(CHANGES):
        await asyncio.to_thread(machines.renew, made.ctx, OWNER, machine)
        begun.append(time.monotonic())
        while not all(len(page.shown) > number for page in watching):
            await asyncio.sleep(0.02)
            for task in tasks:
                if task.done():
                    task.result()
        await asyncio.sleep(BETWEEN)
    for task in tasks:
        task.cancel()
    last = [(max(page.heard[n] for page in watching), max(page.shown[n] for page in watching)) for n in range(CHANGES)]
    return [one - at for (one, _), at in zip(last, begun, strict=True)], [
        two - at for (_, two), at in zip(last, begun, strict=True)
    ]
