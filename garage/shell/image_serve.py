"""Runs on a node that has an image (`python3 -c`, standard library alone): serves its files, read-only, to one node, until its input ends.

Arguments: the image's folder, who may read, the folder of certificates, the files. Says its port. Both ends show certificates.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PORTS = range(49215, 49183, -1)
"""The upper half of those that QEMU uses for guests that move, so that one rule lets both through."""
CHUNK = 1 << 18
SILENCE = 60.0
RANGE = re.compile(r"bytes=([0-9]{1,15})-")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder, reader, files = Path(), "", frozenset[str]()

    def do_GET(self) -> None:
        shown: Any = self.connection.getpeercert() or {}
        if ("DNS", self.reader) not in shown.get("subjectAltName", ()):
            return self._say(403, b"")
        if self.path == "/":
            sizes = {name: (self.folder / name).stat().st_size for name in self.files}
            return self._say(200, json.dumps(sizes).encode())
        if self.path[1:] not in self.files:
            return self._say(404, b"")
        return self._send(self.folder / self.path[1:])

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send(self, path: Path) -> None:
        asked = RANGE.fullmatch(self.headers.get("Range", ""))
        begin, size = int(asked[1]) if asked else 0, path.stat().st_size
        if begin >= size:
            return self._say(416, b"")
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(size - begin))
        self.end_headers()
        with path.open("rb") as file:
            file.seek(begin)
            while data := file.read(CHUNK):
                self.wfile.write(data)
        return None

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: whoever started this reads the port alone."""


class Server(ThreadingHTTPServer):
    """The handshake is made on the connection's own thread."""

    daemon_threads = True
    context: ssl.SSLContext

    def finish_request(self, request: Any, client_address: Any) -> None:
        request.settimeout(SILENCE)
        with contextlib.suppress(OSError), self.context.wrap_socket(request, server_side=True) as protected:
            super().finish_request(protected, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever comes without a certificate is nobody's concern."""


def context_of(pki: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.load_cert_chain(pki / "server-cert.pem", pki / "server-key.pem")
    made.load_verify_locations(pki / "ca-cert.pem")
    made.verify_mode = ssl.CERT_REQUIRED
    if (pki / "ca-crl.pem").exists():
        made.load_verify_locations(pki / "ca-crl.pem")
        made.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return made


def listen() -> Server:
    for port in PORTS:
        with contextlib.suppress(OSError):
            return Server(("", port), Handler)
    sys.exit("no port is free")


def main() -> None:
    folder, Handler.reader, pki, *files = sys.argv[1:]
    Handler.folder, Handler.files = Path(folder), frozenset(files)
    server = listen()
    server.context = context_of(Path(pki))
    print(server.server_address[1], flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main()
