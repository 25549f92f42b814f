"""`overlay.poll`: what one node's long-poll costs a registry of 1,000 sites when there is nothing new."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import random
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from bench.memory import pss_mb
from bench.record import Figure, benchmark

SITES = 1000
POLLS = 300
CREDENTIAL = "credential-of-the-benchmark-{:04}"
SETTLE_SECONDS = 6.0


@benchmark("overlay.poll")
def poll() -> Figure:
    """A registry in a process of its own, 1,000 sites of which 999 hold a long-poll; the last one asks again and again."""
    with tempfile.TemporaryDirectory(prefix="garage-bench-") as folder:
        argv = [sys.executable, "-m", "bench.overlay", folder]
        server = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=sys.stderr, text=True, env=dict(os.environ))
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            times, wake, memory = asyncio.run(_measure(url, server.pid))
        finally:
            server.terminate()
            server.wait(30)
    note = (
        f"p95 {statistics.quantiles(times, n=20)[18] * 1000:.1f} ms; {SITES} sites, {SITES - 1} waiting; registry's process "
        f"{memory[0]:.0f} MB PSS, {memory[1]:.0f} MB after all took a new table within {wake:.1f} s"
    )
    return Figure("overlay.poll", statistics.median(times) * 1000, "ms", POLLS, note)


async def _measure(url: str, pid: int) -> tuple[list[float], float, tuple[float, float]]:
    """(seconds of each poll, seconds until all had the new table, MB before and after). Each node has a client of its own, since
    httpx looks through all connections of a pool at each request."""
    async with contextlib.AsyncExitStack() as stack:
        trust = ssl.create_default_context()
        clients = [httpx.AsyncClient(base_url=url, timeout=120, verify=trust) for _ in range(SITES)]
        for client in clients:
            await stack.enter_async_context(client)
        versions = await _versions(clients[0])
        waiting = [asyncio.create_task(_ask(clients[n], n, versions, wait=50)) for n in range(1, SITES)]
        await asyncio.sleep(SETTLE_SECONDS)
        times = []
        for _ in range(POLLS):
            began = time.perf_counter()
            assert await _ask(clients[0], 0, versions, wait=0) == 204
            times.append(time.perf_counter() - began)
        before = pss_mb(pid)
        began = time.perf_counter()
        left = await clients[0].post("/overlay/v1/leave", headers=_headers(0))
        assert left.status_code == 204
        assert set(await asyncio.gather(*waiting)) == {200}
        return times, time.perf_counter() - began, (before, pss_mb(pid))


async def _versions(http: httpx.AsyncClient) -> tuple[int, int]:
    """Greater than every LinkSpec's, and the Table's."""
    answer = await http.get("/versions")
    serial, table = answer.json()
    return int(serial), int(table)


async def _ask(http: httpx.AsyncClient, number: int, versions: tuple[int, int], *, wait: int) -> int:
    query = f"after={versions[0]}&table={versions[1]}&wait={wait}"
    answer = await http.get(f"/overlay/v1/spec?{query}", headers=_headers(number))
    return answer.status_code


def _headers(number: int) -> dict[str, str]:
    return {"Authorization": f"Bearer {CREDENTIAL.format(number)}"}


def _serve(home: Path) -> None:
    """The registry's process: prints its address when 1,000 sites are members."""
    import socket

    from cryptography.fernet import Fernet
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    from garage.api.app import make_flask
    from garage.config import Config
    from garage.db.migrate import migrate
    from garage.db.session import Database
    from garage.gateway.app import make_asgi
    from garage.gateway.serve import make_server
    from garage.services import registry
    from garage.services.context import Context
    from garage.services.vault import Vault

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    config = Config(home=home, listen=f"127.0.0.1:{port}", site_ipv4="10.255.0.0/20", site_ipv6="fdff::/48")
    database = Database(config.sqlalchemy_url)
    migrate(database)
    vault, signer = Vault(Fernet.generate_key()), Ed25519PrivateKey.generate()
    ctx = Context(database, config, time.time, random.SystemRandom(), vault, signer)
    _fill(ctx)
    app = make_asgi(ctx, make_flask(ctx))
    app.router.routes.append(Route("/versions", lambda _request: JSONResponse(registry.versions(ctx, -1)[:2])))
    print(config.url, flush=True)
    make_server(app, config).run()


def _fill(ctx: "Context") -> None:  # type: ignore[name-defined]  # noqa: F821, UP037
    """1,000 sites as they would have joined, linked by the topology in as many steps as it takes, all links up."""
    from sqlalchemy import select

    from garage.db.overlay_models import Link, LinkEnd, NodeKey, Site, SiteNode
    from garage.services.overlay_links import Changes
    from garage.services.overlay_state import lock, raise_versions
    from garage.services.vault import digest
    from garage.services.wiring import rewire

    with ctx.db.write() as session:
        lock(session)
        for n in range(SITES):
            session.add(Site(
                id=f"s{n}", name=f"site{n}", asn=4_200_000_000 + n, ipv4=f"10.{n // 16}.{n % 16 * 16}.0/20",
                ipv6=f"fd00:{n:x}::/48", proposed_ipv4="", proposed_ipv6="", created_at=ctx.clock(),
            ))  # fmt: skip
            session.flush()
            session.add(SiteNode(
                id=f"n{n}", site_id=f"s{n}", name="node1", credential_hash=digest(CREDENTIAL.format(n)), port=51_820, ports=100,
                addresses=[f"198.18.{n // 250}.{n % 250 + 1}"], way4="open", way6="closed", spec_version=1, joined_at=ctx.clock(),
            ))  # fmt: skip
            session.flush()
            session.add(NodeKey(node_id=f"n{n}", number=1, key=base64.b64encode(n.to_bytes(32, "big")).decode()))
        session.flush()
        while rewire(session, ctx, Changes()):
            have = set(session.scalars(select(LinkEnd.number)))
            for link in session.scalars(select(Link).where(Link.number.not_in(have))):
                for node in (link.a_id, link.b_id):
                    session.add(
                        LinkEnd(number=link.number, node_id=node, state="up", since=ctx.clock(), at=ctx.clock())
                    )
            session.flush()
        raise_versions(session, ctx, [f"n{n}" for n in range(SITES)], table=True)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
