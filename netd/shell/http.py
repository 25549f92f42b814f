"""One keep-alive HTTP connection to an authority. Standard library only; answers are bounded."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import hmac
import http.client
import select
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from netd.core.shaping import CONTROL
from netd.errors import NetdError
from netd.wire import MAX_SPEC_BYTES

LOOPBACK = ("127.0.0.1", "::1", "localhost")
KEEPALIVE = (
    (socket.TCP_KEEPIDLE, 5),
    (socket.TCP_KEEPINTVL, 2),
    (socket.TCP_KEEPCNT, 3),
    (socket.TCP_USER_TIMEOUT, 11_000),
)
"""A long-poll whose way has died is given up after 11 s."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom an https:// address must turn out to be: the holder of this very certificate (its file, or the SHA-256 of its DER form),
    else somebody whom the server's authorities vouch for."""

    ca_file: Path | None = None
    pin: bytes = b""


class Connection:
    """Opened when first used, and again after an error or when it is of no use any more. Errors are NetdError(`code`)."""

    def __init__(self, url: str, trust: Trust, code: str) -> None:
        self._url, self._trust, self._code = urlsplit(url), trust, code
        self._connection: http.client.HTTPConnection | None = None
        self.date = ""
        """The Date of the last answer (RFC 9110, section 6.6.1)."""
        self.requests = ""
        """Ids of requests of people that the last answer goes back to."""
        if self._url.scheme not in ("http", "https") or not self._url.hostname:
            raise NetdError(code, f"{url[:200]} is no address", hint="write https://HOST:PORT")
        if self._url.scheme == "http" and self._url.hostname not in LOOPBACK:
            raise NetdError(
                code, f"{url[:200]} is not protected", hint="write https://…; http:// is for this server alone"
            )

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None,
        timeout: float,
        token: str = "",
        taken: tuple[int, ...] = (200, 204),
    ) -> tuple[int, bytes]:
        """(status, body). A status that is not in `taken` is an error whose text is the answer's."""
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        try:
            connection = self._connect(timeout)
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            data = answer.read(MAX_SPEC_BYTES + 1)
            self.date = answer.getheader("Date", "")
            self.requests = answer.getheader("Garage-Requests", "")
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise NetdError(self._code, f"{self._url.netloc}: {error or type(error).__name__}") from None
        if answer.status not in taken:
            self.close()
            text = data[:300].decode(errors="replace")
            raise NetdError(self._code, f"{path.split('?')[0]}: {answer.status} {text}")
        return answer.status, data

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        if self._connection is not None and (_ended(self._connection.sock) or self.stranded()):
            self.close()
        if self._connection is None:
            connection = self._open(timeout)
            connection.connect()
            self._check_pin(connection)
            _tune(connection.sock)
            self._connection = connection
        self._connection.sock.settimeout(timeout)
        return self._connection

    def _open(self, timeout: float) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        if self._url.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=timeout)
        ca_file = self._trust.ca_file
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        if ca_file or self._trust.pin:
            context.check_hostname = False  # the pinned certificate is the name
        if self._trust.pin:
            context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(host, port, timeout=timeout, context=context)

    def _check_pin(self, connection: http.client.HTTPConnection) -> None:
        """Before a byte of ours, let alone a token, is sent."""
        if not self._trust.pin or not isinstance(connection.sock, ssl.SSLSocket):
            return
        shown = connection.sock.getpeercert(True) or b""
        if not hmac.compare_digest(hashlib.sha256(shown).digest(), self._trust.pin):
            connection.close()
            raise NetdError(
                self._code,
                f"{self._url.netloc} shows another certificate than the one that was promised",
                hint="somebody may be in between; ask the registry's operator for a new line",
            )

    def stranded(self) -> bool:
        """Whether the server has lost the address that this connection came from: no answer can reach it any more."""
        sock = self._connection.sock if self._connection else None
        try:
            with socket.socket(sock.family, socket.SOCK_DGRAM) if sock else contextlib.nullcontext() as probe:
                if sock and probe:
                    probe.bind((sock.getsockname()[0], 0))
        except OSError as error:
            return error.errno == errno.EADDRNOTAVAIL
        return False

    def abort(self) -> None:
        """End an `ask` that waits in another thread; it raises."""
        sock = self._connection.sock if self._connection else None
        with contextlib.suppress(OSError):
            if sock:
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _ended(sock: socket.socket | None) -> bool:
    """Whether the other end has closed a connection on which nothing is asked: something can be read, which then is its end."""
    if sock is None:
        return True
    waiting = select.poll()  # select() knows no descriptor beyond 1023
    waiting.register(sock, select.POLLIN)
    return bool(waiting.poll(0))


def _tune(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE:
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
    with contextlib.suppress(PermissionError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, CONTROL)
