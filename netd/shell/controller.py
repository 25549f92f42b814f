"""The controller's HTTP side: fetch the spec by long-poll, send the report."""

from __future__ import annotations

import msgspec

from netd.config import Config
from netd.shell.http import Connection, Trust
from netd.wire import LIMITS, Report


class Controller:
    """One keep-alive connection to the controller; raises NetdError("controller")."""

    def __init__(self, config: Config) -> None:
        self._connection = Connection(config.controller_url, Trust(ca_file=config.ca_file), "controller")
        self._token = config.token_file.read_text().strip()

    def fetch(self, after: int, wait: float) -> bytes | None:
        """The sealed spec when its version is above `after`, None when there is no news within `wait` seconds."""
        status, body = self._connection.ask(
            "GET", f"/node/v1/spec?after={after}&wait={wait:g}&knows={LIMITS}", None, wait + 10, self._token
        )
        return body if status == 200 else None

    def asked_by(self) -> str:
        """Ids of the requests that the spec fetched last goes back to, for the log."""
        return self._connection.requests[:600]

    def report(self, report: Report) -> None:
        self._connection.ask("POST", "/node/v1/report", msgspec.json.encode(report), 10, self._token)

    def invitation(self) -> str | None:
        """The token of the registry that this controller keeps, while its node is no member; None when there is nothing to join."""
        status, body = self._connection.ask("GET", "/node/v1/invitation", None, 10, self._token)
        return body.decode("ascii", "replace") if status == 200 else None
