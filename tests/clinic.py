"""A world of sites for `netd doctor`, `netd status` and `netd plan`: a registry, sites that are well, one whose netd does not run,
servers that have joined nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from netd.lab.sites import NETD, Network, SiteNode
from netd.lab.world import World
from tests.overlaynet import OverlayNet

JOIN = """
import sys
from pathlib import Path
from netd import config, joining
joining.join(config.load(Path(sys.argv[1])), sys.argv[2], sys.stdin.read())
"""
IMPOSTOR = """
import http.server, ssl, sys, time
class Late(http.server.BaseHTTPRequestHandler):
    def date_time_string(self, timestamp=None):
        return super().date_time_string(time.time() - 300)
    def do_GET(self):
        self.send_response(401)
        self.send_header("Content-Length", "0")
        self.end_headers()
server = http.server.ThreadingHTTPServer(("192.0.2.1", 9443), Late)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1])
server.socket = context.wrap_socket(server.socket, server_side=True)
print("up", flush=True)
server.serve_forever()
"""
HOLD = (
    "import socket; one = socket.socket(type=socket.SOCK_DGRAM); one.bind(('', {})); print('up', flush=True); input()"
)
EXPECTED = {"time service", "link mute"}
"""What a laboratory can't give, as all its sites have one clock; and whom nobody reaches here, which is as it should be."""


class Examined:
    """One run: exit code, verdicts by name, all of them."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        assert done.returncode in (0, 1), f"{done.returncode}\n{done.stdout}{done.stderr}"
        assert done.stdout, done.stderr
        shown = json.loads(done.stdout)
        self.code, self.level = done.returncode, shown["level"]
        self.rows: list[dict[str, Any]] = shown["verdicts"]
        self.text = "\n".join(f"{row['level']} {row['check']}: {row['seen']} → {row['todo']}" for row in self.rows)

    def __getitem__(self, check: str) -> dict[str, Any]:
        found = [row for row in self.rows if row["check"] == check]
        assert len(found) == 1, f"no {check} in\n{self.text}"
        return found[0]

    def wrong(self, level: str) -> set[str]:
        return {row["check"] for row in self.rows if row["level"] == level} - EXPECTED


class Clinic:
    """The world, its overlay, and the site whose netd does not run."""

    def __init__(self, world: World, well: Sequence[str]) -> None:
        """`well`: nodes that join with netd running; the first has number 1, and the prefixes that the one without netd proposes, too."""
        self.world = world
        self.net = OverlayNet(world, registry="tsukuba")
        for number, name in enumerate(well, 1):
            self.join(name, number)
        self.mute = self._mute()
        for number in range(1, len(well)):
            self.net.until(lambda n=number: self.net.ping(well[0], f"10.4{n + 1}.0.1"), "sites reach each other", 60)

    def join(self, name: str, number: int) -> None:
        self.net.prepare(name, number, site=name)
        self.net.join(name, self.net.invite(name, "--own-name", "tsukuba"))

    def _mute(self) -> SiteNode:
        site = self.net.lab.site_of("mute", Network(self.net.instance(3), "10.41.0.0/20", "fd41::/48", "mute"))
        site.prepare()
        token = self.net.invite("mute", "--own-name", "tsukuba")
        self.net.run("mute", [sys.executable, "-c", JOIN, str(site.config), self.net.url], input=token)
        return site

    def doctor(self, place: str, *words: str, site: SiteNode | None = None) -> Examined:
        config = site.config if site else self.net.folder / "nothing" / "netd.toml"
        argv = self.world.argv(place, [*NETD, "doctor", *words, "-o", "json", "--config", str(config)])
        return Examined(subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False))

    def visit(self, name: str) -> Examined:
        """Of a site of the overlay."""
        return self.doctor(name, site=self.mute if name == "mute" else self.net.sites[name])

    @contextmanager
    def process(self, place: str, *argv: str) -> Iterator[None]:
        """A program that says when it is up, for a while."""
        begun = self.world.popen(place, argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            assert begun.stdout is not None
            assert begun.stdout.readline() == "up\n"
            yield
        finally:
            begun.kill()
            begun.wait()

    @contextmanager
    def impostor(self, folder: Path) -> Iterator[None]:
        """Answers as a registry at https://192.0.2.1:9443, five minutes ago."""
        both = folder / "both.pem"
        argv = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            "/CN=x",
        ]
        subprocess.run([*argv, "-keyout", f"{both}.key", "-out", f"{both}.crt"], check=True, capture_output=True)
        both.write_text(Path(f"{both}.key").read_text() + Path(f"{both}.crt").read_text())
        with self.process("internet", sys.executable, "-c", IMPOSTOR, str(both)):
            yield

    def holding(self, place: str, port: int) -> Any:
        return self.process(place, sys.executable, "-c", HOLD.format(port))
