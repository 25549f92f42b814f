"""Runs in a namespace of its own, whose loopback has the addresses of a whole world: what is fetched, and which of them was ever reached.

    lo:  9.9.9.9, 2a0f:1::9   the internet      10.0.0.1, 169.254.169.254, fd00::1, …   special
         8.8.4.4              ourselves         192.168.77.7, 5.5.5.5                     office
         10.0.0.2             special, but allowed by the root-owned file

Prints JSON: {"results": {case: code or text}, "reached": [addresses that a connection came to]}.
"""

from __future__ import annotations

import io
import json
import socket
import sys
import threading
import time
from collections.abc import Callable

from garage.core.outward import make_guard
from garage.errors import GarageError
from garage.shell.outward_fetch import Bounds, fetch, resolve
from netd.core.floor import Allowed

MOST = 1 << 20
BOUNDS = Bounds(MOST, whole=20.0, answer=1.0, silence=5.0, connect=5.0)
GUARD = make_guard(["192.168.77.0/24", "5.5.5.0/24"], [Allowed("10.0.0.2", "tcp", 80)], ["8.8.4.4", "2a0f:1::5"])
NAMES = {
    "good.example": [["9.9.9.9"]],
    "six.example": [["2a0f:1::9"]],
    "evil.example": [["127.0.0.1"]],
    "mixed.example": [["9.9.9.9", "10.0.0.1"]],
    "rebind.example": [["9.9.9.9"], ["127.0.0.1"]],
    "late.example": [["9.9.9.9"], ["10.0.0.1"]],
    "none.example": [[]],
}
"""Name → its answers, one after the other; the last stays."""
reached: set[str] = set()
asked: dict[str, int] = {}


def look_up(host: str, port: int) -> list[str]:
    if host not in NAMES:
        return resolve(host, port)
    number = asked[host] = asked.get(host, 0) + 1
    return NAMES[host][min(number, len(NAMES[host])) - 1]


def head(status: str, *headers: str) -> bytes:
    return "\r\n".join((f"HTTP/1.1 {status}", *headers, "", "")).encode()


def drip(connection: socket.socket, data: bytes) -> None:
    while True:
        connection.sendall(data)
        time.sleep(0.05)


def flood(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"x" * 65536)


BODY = b"the file"
OK = head("200 OK", f"Content-Length: {len(BODY)}") + BODY
ANSWERS: dict[str, bytes] = {
    "/file": OK,
    "/chunked": head("200 OK", "Transfer-Encoding: chunked") + b"8\r\nthe file\r\n0\r\n\r\n",
    "/to-good": head("302 Found", "Location: http://good.example/file"),
    "/to-path": head("307 Temporary Redirect", "Location: file"),
    "/to-loopback": head("301 Moved", "Location: http://127.0.0.1/file"),
    "/to-metadata": head("302 Found", "Location: http://169.254.169.254/latest/meta-data/"),
    "/to-special": head("302 Found", "Location: //10.0.0.1/file"),
    "/to-evil": head("302 Found", "Location: http://evil.example/file"),
    "/to-late": head("302 Found", "Location: http://late.example/file"),
    "/to-file": head("302 Found", "Location: file:///etc/passwd"),
    "/to-gopher": head("302 Found", "Location: gopher://127.0.0.1:70/"),
    "/to-nothing": head("302 Found"),
    "/to-itself": head("302 Found", "Location: /to-itself"),
    "/to-password": head("302 Found", "Location: http://a:b@good.example/file"),
    "/missing": head("404 Not Found", "Content-Length: 0"),
    "/huge": head("200 OK", f"Content-Length: {1 << 50}"),
    "/cut": head("200 OK", "Content-Length: 100") + b"short",
    "/noise": b"\x00\xff" * 1000 + b"\n",
    "/many-headers": head("200 OK", *(f"X-{number}: x" for number in range(500))),
    "/long-header": head("200 OK", "X: " + "x" * 200_000),
}
ENDLESS: dict[str, Callable[[socket.socket], None]] = {
    "/endless": lambda c: (c.sendall(head("200 OK")), flood(c)),  # type: ignore[func-returns-value]
    "/endless-chunks": lambda c: (c.sendall(head("200 OK", "Transfer-Encoding: chunked")), drip(c, b"ffff\r\n" + b"x" * 65535 + b"\r\n")),  # type: ignore[func-returns-value]
    "/slow-head": lambda c: drip(c, b"H"),
    "/slow-headers": lambda c: (c.sendall(b"HTTP/1.1 200 OK\r\n"), drip(c, b"X: y\r\n")),  # type: ignore[func-returns-value]
    "/silent": lambda c: time.sleep(60),
}  # fmt: skip


def serve(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        reached.add(connection.getsockname()[0].removeprefix("::ffff:"))
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


def answer(connection: socket.socket) -> None:
    try:
        with connection:
            path = connection.recv(65536).split(b" ")[1].decode()
            if path in ENDLESS:
                ENDLESS[path](connection)
            connection.sendall(ANSWERS.get(path, OK))
    except (OSError, IndexError):
        pass


def tried(url: str) -> str:
    file = io.BytesIO()
    try:
        fetch(url, file, GUARD, BOUNDS, lambda _done, _total: None, resolve=look_up)
    except GarageError as error:
        return error.code
    return file.getvalue().decode()


def main() -> None:
    listener = socket.create_server(("::", 80), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
    threading.Thread(target=serve, args=(listener,), daemon=True).start()
    results = {url: tried(url) for url in json.load(sys.stdin)}
    json.dump({"results": results, "reached": sorted(reached), "asked": asked}, sys.stdout)


if __name__ == "__main__":
    main()
