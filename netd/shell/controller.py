"""The controller's HTTP side: fetch the spec by long-poll, send the report. Standard library only; answers are bounded."""

from __future__ import annotations

import http.client
import socket
import ssl
from urllib.parse import urlsplit

import msgspec

from netd.config import Config
from netd.errors import NetdError
from netd.wire import MAX_SPEC_BYTES, Report


class Controller:
    """One keep-alive connection to the controller."""

    def __init__(self, config: Config) -> None:
        self._url = urlsplit(config.controller_url)
        self._token = config.token_file.read_text().strip()
        self._ca = config.ca_file
        self._connection: http.client.HTTPConnection | None = None

    def fetch(self, after: int, wait: float) -> bytes | None:
        """The sealed spec when its version is above `after`, None when there is no news within `wait` seconds."""
        status, body = self._ask("GET", f"/node/v1/spec?after={after}&wait={wait:g}", None, wait + 10)
        return body if status == 200 else None

    def report(self, report: Report) -> None:
        self._ask("POST", "/node/v1/report", msgspec.json.encode(report), 10)

    def _ask(self, method: str, path: str, body: bytes | None, timeout: float) -> tuple[int, bytes]:
        try:
            connection = self._connect(timeout)
            headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            data = answer.read(MAX_SPEC_BYTES + 1)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise NetdError("controller", f"{self._url.netloc}: {error or type(error).__name__}") from None
        if answer.status not in (200, 204):
            self.close()
            raise NetdError(
                "controller", f"{path.split('?')[0]}: {answer.status} {data[:300].decode(errors='replace')}"
            )
        return answer.status, data

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        if self._connection is None:
            self._connection = self._open(timeout)
            self._connection.connect()
            self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection.sock.settimeout(timeout)
        return self._connection

    def _open(self, timeout: float) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        if self._url.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=timeout)
        context = ssl.create_default_context(cafile=str(self._ca) if self._ca else None)
        context.check_hostname = self._ca is None  # a pinned certificate is the name
        return http.client.HTTPSConnection(host, port, timeout=timeout, context=context)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
