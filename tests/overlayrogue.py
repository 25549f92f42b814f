"""A registry in somebody else's hands: it answers at the registry's address, with its certificate and its signing key, as it likes."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from netd.wire import Allotment, LinkReport, LinkSpec, News, Table, decode, seal
from netd.wire.envelope import Envelope
from tests.overlaynet import OverlayNet

PROGRAM = """
import http.server, json, pathlib, ssl, sys, time
home, folder, victim, address, port = sys.argv[1:]
folder = pathlib.Path(folder)
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def say(self, status, body=b""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        mine, until = self.client_address[0] == victim, time.monotonic() + 5
        while mine and time.monotonic() < until:
            for path in sorted(folder.glob("news-*.json")):
                path.rename(path.with_suffix(".sent"))
                return self.say(200, path.with_suffix(".sent").read_bytes())
            time.sleep(0.05)
        if not mine:
            time.sleep(5)
        self.say(204)
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.client_address[0] == victim:
            (folder / "report.new").write_bytes(body)
            (folder / "report.new").rename(folder / "report.json")
        self.say(204)
    def log_message(self, *_): pass
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(f"{home}/keys/tls.crt", f"{home}/keys/tls.key")
class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    def finish_request(self, request, client_address):
        super().finish_request(tls.wrap_socket(request, server_side=True), client_address)
Server((address, int(port)), Answer).serve_forever()
"""


class Rogue:
    """Takes the place of the registry's web process; `tell` speaks to one node, the others hear nothing."""

    def __init__(self, net: OverlayNet, victim: str) -> None:
        self.net, self.home = net, net.folder / net.registry
        self.key = load_pem_private_key((self.home / "keys" / "controller.key").read_bytes(), password=None)
        held = net.sites[victim].state / "overlay"
        self.spec = decode(decode((held / "link.json").read_bytes(), Envelope).payload, LinkSpec)
        self.table = decode(decode((held / "table.json").read_bytes(), Envelope).payload, Table)
        """What the true registry said last; versions that are told are counted from here."""
        self.folder: Path = net.folder / "rogue"
        self.folder.mkdir()
        net.web.terminate()
        net.web.wait(20)
        host, port = net.url.removeprefix("https://").rsplit(":", 1)
        address = net.world.nodes[victim].lines[0].ipv4
        argv = [sys.executable, "-c", PROGRAM, str(self.home), str(self.folder), str(address), host, port]
        net.web = net.start(net.registry, argv, "rogue")

    def tell(
        self,
        *,
        spec: dict[str, Any] | None = None,
        table: dict[str, Any] | None = None,
        key: Ed25519PrivateKey | None = None,
    ) -> LinkReport:
        """Changes to the true documents, signed; what the node says when it has taken or refused them."""
        sealed = {}
        if spec is not None:
            self.spec = msgspec.structs.replace(self.spec, version=self.spec.version + 1)
            sealed["spec"] = seal(msgspec.structs.replace(self.spec, **spec), key or self.key)  # type: ignore[arg-type]
        if table is not None:
            self.table = msgspec.structs.replace(self.table, version=self.table.version + 1)
            sealed["table"] = seal(msgspec.structs.replace(self.table, **table), key or self.key)  # type: ignore[arg-type]
        told = {"spec": spec or {}, "table": table or {}}
        versions = {name: told[name].get("version", getattr(self, name).version) for name in sealed}
        return self.tell_bytes(News(**sealed), **versions)

    def tell_bytes(self, news: News, **versions: int) -> LinkReport:
        """`versions`: of "spec" and "table" as they can be read in `news`."""
        (self.folder / "report.json").unlink(missing_ok=True)
        path = self.folder / f"news-{time.monotonic_ns()}.json"
        path.with_suffix(".new").write_bytes(msgspec.json.encode(news))
        path.with_suffix(".new").rename(path)
        self.net.until(lambda: self._answer(versions), "the node says what it made of the documents", 60)
        found = self._answer(versions)
        assert found is not None
        return found

    def _answer(self, versions: dict[str, int]) -> LinkReport | None:
        """Its last report, if it is about these versions; 0 is what cannot be read."""
        path = self.folder / "report.json"
        if not path.exists():
            return None
        said = decode(path.read_bytes(), LinkReport)
        held = {"spec": said.applied_version, "table": said.table_version}
        taken = bool(versions) and all(held[name] == version for name, version in versions.items())
        refused = said.refusal is not None and said.refusal.version == max(versions.values(), default=0)
        return said if taken or refused else None

    def with_sites(self, more: Iterable[Allotment]) -> dict[str, Any]:
        """For `tell(table=…)`."""
        return {"sites": (*self.table.sites, *more)}


def pretty(said: LinkReport) -> str:
    """For messages."""
    return json.dumps(msgspec.to_builtins(said), indent=1)[:3000]
