"""Runs on a node that lacks an image (`python3 -c`, standard library alone): fetches its files from one that has it, goes on with what an
earlier attempt left, and puts the whole in place by one rename when every file is what its sha256 says.

Its input is JSON (`Order`). Says "DONE TOTAL" in bytes every second. Exit: 0 in place, 46 another attempt is under way, 47 the source does
not answer, 48 a file is not what it should be (it is removed), 49 a file is larger than it may be.
"""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import json
import os
import socket
import ssl
import sys
import time
from pathlib import Path
from typing import Any

BUSY, AWAY, WRONG, LARGE = 46, 47, 48, 49
CHUNK = 1 << 18
SILENCE = 30.0
"""Seconds without a byte."""


class Connection(http.client.HTTPConnection):
    """To the source's address, which must turn out to be the node of that name."""

    def __init__(self, order: dict[str, Any]) -> None:
        super().__init__(order["name"], order["port"], timeout=SILENCE)
        self._order = order

    def connect(self) -> None:
        pki = Path(self._order["pki"])
        context = ssl.create_default_context(cafile=str(pki / "ca-cert.pem"))
        context.load_cert_chain(pki / "client-cert.pem", pki / "client-key.pem")
        plain = socket.create_connection((self._order["address"], self.port), SILENCE)
        self.sock = context.wrap_socket(plain, server_hostname=self.host)


class Copy:
    """One image on its way into `draft`."""

    def __init__(self, order: dict[str, Any], draft: Path) -> None:
        self._order, self._draft = order, draft
        self._connection = Connection(order)
        self._sizes = self._look()
        self._told = 0.0
        self._done = sum(self._have(name) for name in order["files"])

    def _look(self) -> dict[str, int]:
        answer = self._ask("/", {})
        said = json.loads(answer.read(10_000))
        sizes = {name: int(said[name]) for name in self._order["files"]}
        if max(sizes.values()) > self._order["most"] or min(sizes.values()) < 0:
            sys.exit(LARGE)
        return sizes

    def _ask(self, path: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        self._connection.request("GET", path, headers=headers)
        answer = self._connection.getresponse()
        if answer.status not in (200, 206):
            sys.exit(AWAY)
        return answer

    def _have(self, name: str) -> int:
        for path in (self._draft / name, self._draft / f"{name}.part"):
            if path.exists():
                return path.stat().st_size
        return 0

    def file(self, name: str, digest: str) -> None:
        target, part = self._draft / name, self._draft / f"{name}.part"
        if target.exists():
            return
        with part.open("ab") as file:
            if file.tell() < self._sizes[name]:
                self._receive(name, file)
            os.fsync(file.fileno())
        with part.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                part.unlink()
                sys.exit(WRONG)
        part.chmod(0o444)
        part.rename(target)

    def _receive(self, name: str, file: Any) -> None:
        answer = self._ask(f"/{name}", {"Range": f"bytes={file.tell()}-"})
        began, received = time.monotonic(), 0
        while data := answer.read(min(CHUNK, self._sizes[name] - file.tell())):
            file.write(data)
            received += len(data)
            self._done += len(data)
            self._tell()
            if rate := self._order["rate"]:
                time.sleep(max(0.0, received / rate - (time.monotonic() - began)))
        if file.tell() < self._sizes[name]:
            sys.exit(AWAY)
        answer.read()

    def _tell(self) -> None:
        if time.monotonic() - self._told >= 1.0:
            self._told = time.monotonic()
            print(self._done, sum(self._sizes.values()), flush=True)


def sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def main() -> None:
    order = json.load(sys.stdin)
    os.umask(0o022)
    store = Path(order["store"])
    target, draft = store / order["image"], store / f".copy-{order['image']}"
    store.mkdir(parents=True, exist_ok=True)
    if (target / "manifest.json").exists():
        return
    draft.mkdir(exist_ok=True)
    try:
        fcntl.flock(os.open(draft, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(BUSY)
    try:
        copy = Copy(order, draft)
        for name, digest in order["files"].items():
            copy.file(name, digest)
    except (
        ssl.SSLError,
        http.client.HTTPException,
        TimeoutError,
        ConnectionError,
        socket.gaierror,
        ValueError,
        KeyError,
    ) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(AWAY)
    (draft / "manifest.json").write_text(json.dumps(order["manifest"], indent=1))
    (draft / "manifest.json").chmod(0o444)
    sync(draft / "manifest.json")
    sync(draft)
    draft.rename(target)
    sync(store)


if __name__ == "__main__":
    main()
