"""The real ASGI app on a free loopback port, in a thread of the test's process; and a stand-in for a machine's SSH port."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from garage.api.app import make_flask
from garage.core.states import Event
from garage.db.models import Machine
from garage.gateway.app import make_asgi
from garage.gateway.serve import make_server
from garage.services import api_tokens, machines
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from garage.services.transitions import fire
from garage.services.views import MachineView
from garage.shell.dial import dial_ssh


@dataclass
class Served:
    """A running gateway. Requests go through `http`; `token(caller)` makes the header's worth."""

    ctx: Context
    url: str
    app: Any
    http: httpx.Client
    dialled: list[str] = field(default_factory=list)

    def token(self, who: Caller, name: str = "test") -> str:
        return api_tokens.create(self.ctx, who, name)[1]

    def as_(self, who: Caller) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(who)}"}

    @property
    def ws_url(self) -> str:
        return self.url.replace("http", "ws", 1)


@contextmanager
def serving(ctx: Context, *, ssh_port: int = 22, listen: str = "127.0.0.1:0", flask: Any = None) -> Iterator[Served]:
    """Serve the whole app (with pages, if `flask` has them); machines' port 22 is `ssh_port` of the same address."""
    dialled: list[str] = []

    async def dial(ipv4: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        dialled.append(ipv4)
        return await dial_ssh(ipv4, port=ssh_port)

    app = make_asgi(ctx, flask or make_flask(ctx), dial=dial)
    server = make_server(app, replace(ctx.config, listen=listen))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    url = f"{'https' if server.config.is_ssl else 'http'}://127.0.0.1:{port}"
    with httpx.Client(base_url=url, timeout=60, verify=False) as http:
        try:
            yield Served(ctx, url, app, http, dialled)
        finally:
            server.should_exit = True
            thread.join(10)
            assert not thread.is_alive(), "the server did not stop"


def wait_until(true: Callable[[], Any], seconds: float = 5.0) -> float:
    """Seconds until `true()`; fails after `seconds`."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, "it did not happen in time"
        time.sleep(0.005)
    return time.monotonic() - began


def ready_machine(ctx: Context, who: Caller, name: str, ipv4: str = "127.0.0.1") -> MachineView:
    """A machine that is `ready` at a loopback address."""
    made = machines.create(ctx, who, NewMachine(name=name, size="tiny"))
    with ctx.db.write() as session:
        row = session.get_one(Machine, made.id)
        row.ipv4 = ipv4
    play(ctx, made.id, Event.STARTED, Event.ANSWERED)
    return machines.get(ctx, who, made.id)


def play(ctx: Context, machine_id: str, *happened: Event) -> None:
    """Do the worker's part."""
    with ctx.db.write() as session:
        for event in happened:
            fire(session, ctx, session.get_one(Machine, machine_id), event)


@contextmanager
def tcp_server(handle: Callable[[socket.socket], None], host: str = "127.0.0.1") -> Iterator[int]:
    """A loopback TCP server; `handle` gets each connection in a thread of its own."""
    listener = socket.create_server((host, 0))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=handle, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def echo(connection: socket.socket) -> None:
    """Send everything back; after the peer's half-close say how much it was."""
    with connection:
        total = 0
        while data := connection.recv(65536):
            total += len(data)
            connection.sendall(data)
        connection.sendall(b"total %d" % total)


class EventReader:
    """Reads server-sent events in a thread; `events` holds (id, kind, data)."""

    def __init__(self, served: Served, headers: dict[str, str], query: str = "") -> None:
        self.events: list[tuple[str, str, Any]] = []
        self.status = 0
        self.ended = threading.Event()
        self._served, self._headers, self._query = served, headers, query
        self.begun = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()
        assert self.begun.wait(5)

    def _read(self) -> None:
        block: dict[str, str] = {}
        try:
            with (
                httpx.Client(base_url=self._served.url, timeout=30) as http,
                http.stream("GET", f"/api/v1/events{self._query}", headers=self._headers) as answer,
            ):
                self.status = answer.status_code
                for line in answer.iter_lines():
                    self.begun.set()
                    if line:
                        key, _, value = line.partition(": ")
                        block[key] = value
                    elif "event" in block:
                        self.events.append((block["id"], block["event"], json.loads(block["data"])))
                        block = {}
        except httpx.HTTPError:
            pass
        finally:
            self.begun.set()
            self.ended.set()

    @property
    def states(self) -> list[tuple[str, str]]:
        return [(data["name"], data["state"]) for _, kind, data in self.events if kind == "machine"]
