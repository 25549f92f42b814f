"""A thousand simulated sites for `overlay.poll`: the registry's process, and one that does what 999 nodes do."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import socket
import ssl
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from garage.core.topology import Node, Rules, Site, Wire, plan
from garage.services.context import Context
from netd import wire
from netd.wire.envelope import Envelope

SITES = 1000
CREDENTIAL = "credential-of-the-benchmark-{:04}"
REPORT_EVERY, POLL_SECONDS = 10.0, 25
"""As netd does it."""
CONNECTING = 16
"""Nodes that connect at the same time."""


def serve(home: Path) -> None:
    """The registry's process: prints its address, when 1,000 sites are members, the versions of LinkSpec and Table, and its
    certificate's SHA-256."""
    from cryptography.fernet import Fernet
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from garage.api.app import make_flask
    from garage.config import Config
    from garage.db.migrate import migrate
    from garage.db.session import Database
    from garage.gateway.app import make_asgi
    from garage.gateway.serve import make_server
    from garage.services import registry
    from garage.services.vault import Vault
    from garage.shell.tls import fingerprint, make_certificate

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    config = Config(home=home, listen=f"0.0.0.0:{port}", site_ipv4="10.255.0.0/20", site_ipv6="fdff::/48")
    certificate, key = make_certificate("127.0.0.1")
    (home / "keys").mkdir(parents=True, exist_ok=True)
    (home / "keys" / "tls.crt").write_bytes(certificate)
    (home / "keys" / "tls.key").write_bytes(key)
    vault, signer = Vault(Fernet.generate_key()), Ed25519PrivateKey.generate()
    ctx = Context(Database(config.sqlalchemy_url), config, time.time, random.SystemRandom(), vault, signer)
    if not (filling := os.fork()):  # what this takes is none of the registry's memory
        migrate(ctx.db)
        _fill(ctx)
        ctx.db.close()
        os._exit(0)
    assert os.waitpid(filling, 0)[1] == 0
    serial, table, _ = registry.versions(ctx, -1)
    pin = fingerprint(certificate).removeprefix("sha256:")
    print(json.dumps({"url": f"https://127.0.0.1:{port}", "serial": serial, "table": table, "pin": pin}), flush=True)
    make_server(make_asgi(ctx, make_flask(ctx)), config).run()


def distance(one: str, other: str) -> float:
    """Milliseconds between two sites on a map 50 ms wide; always the same, so that the topology has nothing to mend."""
    here, there = (
        complex(rng.uniform(0, 50), rng.uniform(0, 50)) for rng in (random.Random(one), random.Random(other))
    )
    return 1 + abs(here - there)


def planned() -> tuple[list[Site], list[Wire]]:
    """Where the topology of 1,000 sites ends, every link being up and measured."""
    sites, links = [Site(f"site{n}", (Node("node1"),)) for n in range(SITES)], list[Wire]()
    while True:
        rtt = {link.sites: distance(*link.sites) for link in links}
        step = plan(sites, links, rtt, Rules(others=SITES))
        sites = [replace(site, hub=site.name in step.hubs) for site in sites]
        links = [replace(link, up=True) for link in step.links]
        if step.settled:
            return sites, links


def _fill(ctx: Context) -> None:
    """1,000 sites as they would have joined, each with the links that it would have in the end."""
    from garage.db.overlay_models import LinkEnd, NodeKey, SiteNode
    from garage.db.overlay_models import Site as SiteRow
    from garage.services.overlay_links import Changes, Maker
    from garage.services.overlay_state import lock, raise_versions
    from garage.services.vault import digest

    sites, links = planned()
    with ctx.db.write() as session:
        lock(session)
        nodes = {}
        for n, site in enumerate(sites):
            session.add(SiteRow(
                id=f"s{n}", name=site.name, asn=4_200_000_000 + n, ipv4=f"10.{n // 16}.{n % 16 * 16}.0/20",
                ipv6=f"fd00:{n:x}::/48", proposed_ipv4="", proposed_ipv6="", created_at=ctx.clock(), hub=site.hub,
            ))  # fmt: skip
            session.flush()
            nodes[site.name] = SiteNode(
                id=f"n{n}", site_id=f"s{n}", name="node1", credential_hash=digest(CREDENTIAL.format(n)), port=51_820, ports=100,
                addresses=[f"198.18.{n // 250}.{n % 250 + 1}"], way4="open", way6="closed", spec_version=1, joined_at=ctx.clock(),
            )  # fmt: skip
            session.add(nodes[site.name])
            session.flush()
            session.add(NodeKey(node_id=f"n{n}", number=1, key=base64.b64encode(n.to_bytes(32, "big")).decode()))
        maker, now = Maker(session, ctx, Changes()), ctx.clock()
        for wanted in links:
            link = maker.make(nodes[wanted.a.site], nodes[wanted.b.site], wanted.reason)
            assert link is not None
            for node in (link.a_id, link.b_id):
                row = LinkEnd(number=link.number, node_id=node, state="up", since=now, at=now, preference=3)
                row.rtt_ms = distance(*wanted.sites)
                session.add(row)
        raise_versions(session, ctx, [node.id for node in nodes.values()], table=True)


class Line:
    """A kept TLS connection; a few lines of HTTP, as a library would cost more than what is measured."""

    def __init__(self, port: int, trust: ssl.SSLContext, credential: str) -> None:
        self._port, self._trust = port, trust
        self._head = f"Host: 127.0.0.1\r\nAuthorization: Bearer {credential}\r\nContent-Type: application/json\r\n"

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, ssl=self._trust)

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        head = f"{method} /overlay/v1/{path} HTTP/1.1\r\n{self._head}Content-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        said = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = said.partition("content-length: ")[2].partition("\r")[0]
        return int(said.split()[1]), await self._reader.readexactly(int(length or 0))


class Member:
    """Polls on one connection and reports on another, as netd does."""

    def __init__(self, number: int, port: int, versions: tuple[int, int], trust: ssl.SSLContext) -> None:
        self.number, self._versions = number, versions
        credential = CREDENTIAL.format(number)
        self._polls, self._reports = Line(port, trust, credential), Line(port, trust, credential)
        self._links: Mapping[int, float] = {}
        """Number → milliseconds."""
        self.reports = 0

    async def come_up(self) -> None:
        """Take the LinkSpec, then say once what there is."""
        await self._polls.open()
        await self._reports.open()
        status, body = await self._polls.ask("GET", f"spec?after=0&table={self._versions[1]}&wait=0")
        assert status == 200, status
        news = wire.decode(body, wire.News)
        assert news.spec is not None
        spec = wire.decode(wire.decode(news.spec, Envelope).payload, wire.LinkSpec)
        self._links = {link.number: distance(*sorted((spec.site, link.peer_site))) for link in spec.links}
        await self._report()

    async def wait_for_news(self) -> None:
        """Until there is a new Table."""
        status = 204
        while status == 204:
            path = f"spec?after={self._versions[0]}&table={self._versions[1]}&wait={POLL_SECONDS}"
            status, _ = await self._polls.ask("GET", path)
        assert status == 200, status

    async def go_on_reporting(self) -> None:
        """At any time within the ten seconds, then every ten seconds."""
        await asyncio.sleep(random.uniform(0, REPORT_EVERY))
        while True:
            began = time.monotonic()
            await self._report()
            await asyncio.sleep(REPORT_EVERY - (time.monotonic() - began))

    async def _report(self) -> None:
        """All links are up; what is measured is another value each time."""
        jitter = random.uniform(0.1, 0.5)
        states = tuple(
            wire.LinkState(number=number, state="up", preference=3, mtu=1420, rtt_ms=ms, jitter_ms=jitter, loss=0.0)
            for number, ms in self._links.items()
        )
        said = wire.LinkReport(
            applied_version=0,
            table_version=self._versions[1],
            endpoints=(f"198.18.{self.number // 250}.{self.number % 250 + 1}:51820",),
            links=states,
        )
        while (answer := await self._reports.ask("POST", "report", msgspec.json.encode(said)))[0] == 503:
            await asyncio.sleep(0.5)  # as netd does; the database is busy
        assert answer[0] == 204, answer
        self.reports += 1


async def load(url: str, serial: int, table: int) -> None:
    """999 nodes: prints "ready" when each waits for news and has reported once, then a line when all have the new Table."""
    port, trust = urlsplit(url).port or 0, ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    nodes = [Member(n, port, (serial, table), trust) for n in range(1, SITES)]
    gate = asyncio.Semaphore(CONNECTING)

    async def begin(node: Member) -> asyncio.Task[None]:
        async with gate:
            await node.come_up()
        reporting.append(group.create_task(node.go_on_reporting()))
        return group.create_task(node.wait_for_news())

    reporting: list[asyncio.Task[None]] = []
    async with asyncio.TaskGroup() as group:
        waiting = await asyncio.gather(*(begin(node) for node in nodes))
        print("ready", flush=True)
        await asyncio.gather(*waiting)
        print(sum(node.reports for node in nodes), flush=True)
        for task in reporting:
            task.cancel()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(Path(sys.argv[2]))
    else:
        asyncio.run(load(sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
