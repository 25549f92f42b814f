"""Talking to the running controller over its own API, with the admin's token."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from garage_setup.place import Place
from garage_setup.problem import SetupError

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
ANYWHERE = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]", "": "127.0.0.1"}  # noqa: S104  (compared with, not bound to)
TIMEOUT = 10.0


class Controller:
    """The controller of a place, reached on this server."""

    def __init__(self, place: Place) -> None:
        host, _, port = place.listen.rpartition(":")
        self.tls = host not in LOOPBACK
        self.url = f"{'https' if self.tls else 'http'}://{ANYWHERE.get(host, host)}:{port}"
        self._certificate = place.home / "keys" / "tls.crt"
        self._token_file = place.home / "admin.token"

    def parts(self) -> dict[str, bool]:
        """What `/readyz` says of each part; empty when nothing answers."""
        try:
            answer = self._ask("GET", "/readyz", None, authorised=False)
        except (OSError, ValueError):
            return {}
        return {name: bool(value) for name, value in answer.get("parts", {}).items()}

    def get(self, path: str) -> Any:
        """The JSON at a path of the API; raises SetupError with the problem's detail and hint."""
        return self._call("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return self._call("POST", path, body)

    def _call(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        try:
            answer = self._ask(method, f"/api/v1{path}", body, authorised=True)
        except (OSError, ValueError) as error:
            raise SetupError(f"{self.url}{path} does not answer: {error}", hint="make up") from None
        if "status" in answer and "code" in answer:
            raise SetupError(f"{answer.get('title')}: {answer.get('detail')}", hint=str(answer.get("hint") or ""))
        return answer

    def _ask(self, method: str, path: str, body: dict[str, Any] | None, *, authorised: bool) -> Any:
        """The decoded answer, whatever its status."""
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if authorised:
            headers["Authorization"] = f"Bearer {self._token_file.read_text().strip()}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, headers, method=method)  # noqa: S310  (own address)
        try:
            # no proxy: this is a conversation with the same server
            with self._opener().open(request, timeout=TIMEOUT) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            return json.load(error)

    def _opener(self) -> urllib.request.OpenerDirector:
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if self.tls:
            handlers.append(urllib.request.HTTPSHandler(context=pinned(self._certificate)))
        return urllib.request.build_opener(*handlers)


def pinned(certificate: Path) -> ssl.SSLContext:
    """Trusts this one certificate, under whatever name it is reached."""
    context = ssl.create_default_context(cafile=str(certificate))
    context.check_hostname = False
    return context
