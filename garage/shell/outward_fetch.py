"""Fetching what somebody named: from the internet at large and from nowhere else, bounded in bytes and time.

A name is looked up once; all its addresses are checked, and the connection goes to one of those, so that no second answer of a name server
counts (DNS rebinding). Each redirect begins anew. No proxy of the environment is used: it would look names up by itself.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from garage.core import outward
from garage.core.outward import Guard, Target
from garage.errors import N_, GarageError
from garage.shell.disk_files import disk_is_full
from garage.shell.run import run
from netd.core.floor import parse_allowed, parse_networks
from netd.errors import NetdError

CHUNK = 1 << 18
AGENT = "garage (image import)"
MOVED = (301, 302, 303, 307, 308)
Resolve = Callable[[str, int], list[str]]
Told = Callable[[int, int], None]
"""(bytes so far, bytes in all or 0)."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of one fetch. Bytes, seconds."""

    most: int
    whole: float = 7200.0
    answer: float = 60.0
    """Until the answer's head is there, with each redirect."""
    silence: float = 30.0
    connect: float = 10.0


@dataclass(frozen=True, slots=True)
class Ask:
    """What is said to a server, beside where."""

    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    agent: str = AGENT


GET = Ask()


def resolve(host: str, port: int) -> list[str]:
    """Every address of a name; raises `network_error` when it has none."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise GarageError(
            "network_error",
            N_("{host} is not known: {reason}"),
            hint=N_("check the spelling"),
            host=host,
            reason=str(error),
        ) from None
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def server_guard(home: Path) -> Guard:
    """What of this server's surroundings is out of reach: its office and allowances by the root-owned files, all its own networks."""
    try:
        office = parse_networks(_text(home / "office.networks"), name="office.networks")
        allowed = parse_allowed(_text(home / "allow.networks"), name="allow.networks")
    except NetdError as error:
        raise GarageError("config", N_("a list of networks cannot be read: {reason}"), reason=str(error)) from None
    interfaces = json.loads(run(["ip", "-json", "addr"], timeout=10).stdout or "[]")
    own = [entry for interface in interfaces for entry in interface.get("addr_info", [])]
    here = [f"{entry['local']}/{entry['prefixlen']}" for entry in own]
    return outward.make_guard(
        [*office, *parse_networks("\n".join(here), name="ip addr")], allowed, [entry["local"] for entry in own]
    )


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def fetch(url: str, file: IO[bytes], guard: Guard, bounds: Bounds, told: Told, *, resolve: Resolve = resolve) -> int:
    """What is at `url` into `file`; returns its bytes. Raises `forbidden`, `too_large`, `network_error` or `timeout`."""
    end = time.monotonic() + bounds.whole
    target = outward.parse_url(url)
    for _ in range(outward.REDIRECTS + 1):
        with asked(target, guard, bounds, resolve) as (answer, watch):
            if answer.status in MOVED:
                target = outward.redirected(target, answer.headers.get("Location", ""))
                continue
            if answer.status != 200:
                text, hint = (
                    N_("{host} answered {status}"),
                    N_("open the address in a browser, and take the one that downloads the file"),
                )
                raise GarageError("network_error", text, hint=hint, host=target.host, status=answer.status)
            watch.until(end)
            return _receive(answer, file, bounds, told)
    raise GarageError("network_error", N_("{host} redirects again and again"), hint=outward.ELSEWHERE, host=target.host)


class _Watch:
    """Ends a connection when its time is over, however slowly bytes drip: in the handshake, the head or the body."""

    def __init__(self, connected: socket.socket, seconds: float) -> None:
        self.socket, self._end, self.over = connected, time.monotonic() + seconds, False
        self._stopped = threading.Event()
        threading.Thread(target=self._run, name="fetch-watch", daemon=True).start()

    def until(self, end: float) -> None:
        self._end = end

    def check(self) -> None:
        """What was cut off by us may look like an end. Raises TimeoutError."""
        if self.over:
            raise TimeoutError

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(0.2):
            if time.monotonic() > self._end:
                self.over = True
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(self.socket, socket.SHUT_RDWR)  # also of TLS: its state is another thread's
                return


@contextlib.contextmanager
def asked(
    target: Target, guard: Guard, bounds: Bounds, resolve: Resolve, ask: Ask = GET
) -> Iterator[tuple[http.client.HTTPResponse, _Watch]]:
    """The answer to one request, as long as the block lasts."""
    address = outward.pinned(guard, resolve(target.host, target.port), target.port)
    watch: _Watch | None = None
    try:
        with socket.create_connection((address, target.port), bounds.connect) as plain:
            guard.check(str(plain.getpeername()[0]), target.port)
            plain.settimeout(bounds.silence)
            watch = _Watch(plain, bounds.answer)
            with _greeted(target, plain, watch) as ready:
                answer = _say(target, ready, bounds, ask)
                watch.check()
                yield answer, watch
                watch.check()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _broken(target, error, over=watch is not None and watch.over) from None
    finally:
        if watch is not None:
            watch.stop()


def _greeted(target: Target, plain: socket.socket, watch: _Watch) -> socket.socket:
    """The connection to speak on; a certificate must be the name's, whatever the address."""
    if target.scheme == "http":
        return plain
    context = ssl.create_default_context()
    protected = context.wrap_socket(plain, server_hostname=target.host, do_handshake_on_connect=False)
    watch.socket = protected
    protected.do_handshake()
    return protected


def _say(target: Target, ready: socket.socket, bounds: Bounds, ask: Ask) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(target.host, target.port, timeout=bounds.silence)
    connection.default_port, connection.sock = outward.PORTS[target.scheme], ready
    headers = {"Accept-Encoding": "identity", "User-Agent": ask.agent, "Connection": "close", **ask.headers}
    connection.request(ask.method, target.path, body=ask.body, headers=headers)
    return connection.getresponse()


def _broken(target: Target, error: Exception, *, over: bool) -> GarageError:
    if over or isinstance(error, TimeoutError):
        hint = N_("take a nearer mirror, or import the file itself")
        return GarageError("timeout", N_("{host} is too slow"), hint=hint, host=target.host)
    reason = str(error)[:200] or type(error).__name__
    hint = N_("try again later, or import the file itself")
    return GarageError("network_error", N_("{host}: {reason}"), hint=hint, host=target.host, reason=reason)


def _receive(answer: http.client.HTTPResponse, file: IO[bytes], bounds: Bounds, told: Told) -> int:
    total, done = answer.length or 0, 0
    if total > bounds.most:
        raise _large(bounds)
    while data := answer.read(CHUNK):
        done += len(data)
        if done > bounds.most:
            raise _large(bounds)
        _write(file, data)
        told(done, total)
    if done < total:
        raise http.client.IncompleteRead(b"", total - done)
    return done


def _write(file: IO[bytes], data: bytes) -> None:
    try:
        file.write(data)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_is_full() from None
        raise


def _large(bounds: Bounds) -> GarageError:
    return GarageError(
        "too_large",
        N_("an image's file may have {limit} GiB"),
        hint=N_("bring a smaller one, or one with its empty parts left out (qcow2)"),
        limit=bounds.most >> 30,
    )
