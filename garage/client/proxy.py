"""`garage proxy NAME`: standard input and output as a machine's SSH port. Starts quickly: it imports no HTTP client."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from garage import __version__
from garage.client import openssh
from garage.client.errors import ClientError, local_error
from garage.client.profiles import Profile, folder, write_private
from garage.client.words import language

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

CHUNK = 256 * 1024
MAX_FRAME = 1024 * 1024
OPEN_SECONDS = 30.0
CLOSE_SECONDS = 2.0
EOF = "eof"
KEEPALIVE_SECONDS = None
"""The server pings; a stalled machine must not end the stream."""


def known_hosts_folder(profile: Profile) -> Any:
    """Where host keys of a controller's machines are kept, one file per host."""
    safe = "".join(c if c.isalnum() or c in ".-" else "_" for c in profile.name)
    return folder() / "known_hosts.d" / safe


def run(profile: Profile, name: str) -> int:
    """Until either side ends; returns the exit code."""
    ref = openssh.check_ref(name)
    with ExitStack() as stack:
        connection = _open(stack, profile, ref)
        host_key = connection.response.headers.get("Garage-Host-Key", "") if connection.response else ""
        if host_key:
            write_private(known_hosts_folder(profile) / name.lower(), openssh.known_host(name.lower(), host_key))
        return pump(connection)


def _open(stack: ExitStack, profile: Profile, ref: str) -> ClientConnection:
    from websockets.exceptions import InvalidStatus, WebSocketException
    from websockets.sync.client import connect

    from garage.client.tls import context_for

    secure = profile.url.startswith("https")
    try:
        opening = connect(
            f"{profile.url.replace('http', 'ws', 1)}/api/v1/machines/{ref}/ssh",
            ssl=context_for(profile.certificate) if secure else None,
            additional_headers={"Authorization": f"Bearer {profile.token}", "Accept-Language": language(os.environ)},
            user_agent_header=f"garage/{__version__}",
            compression=None,
            max_size=MAX_FRAME,
            open_timeout=OPEN_SECONDS,
            ping_interval=KEEPALIVE_SECONDS,
            proxy=None if profile.loopback else True,
            close_timeout=CLOSE_SECONDS,
        )
        return stack.enter_context(opening)
    except InvalidStatus as error:
        raise _refusal(error.response.body) from None
    except (OSError, WebSocketException) as error:
        hint = "check the address, and that the server runs"
        raise local_error(
            "unavailable", "{url} does not answer: {reason}", hint=hint, url=profile.url, reason=str(error)
        ) from None


def _refusal(body: bytes | bytearray | None) -> ClientError:
    import json

    try:
        problem = json.loads(body or b"")
    except ValueError:
        problem = None
    if isinstance(problem, dict):
        return ClientError(problem)
    return local_error("unavailable", "the controller refused the stream", hint="garage status")


def pump(connection: ClientConnection) -> int:
    """Standard input up in a thread, down to standard output here."""
    from websockets.exceptions import ConnectionClosed

    threading.Thread(target=_up, args=(connection,), daemon=True).start()
    try:
        while True:
            frame = connection.recv()
            if frame == EOF:
                _close_output()
            elif isinstance(frame, bytes):
                _write(frame)
    except ConnectionClosed as closed:
        if closed.rcvd and closed.rcvd.code >= 4000:
            print(f"garage: {closed.rcvd.reason}", file=sys.stderr)
            return 5
        return 0
    except BrokenPipeError:
        return 0


def _up(connection: ClientConnection) -> None:
    from websockets.exceptions import ConnectionClosed

    try:
        while data := os.read(0, CHUNK):
            connection.send(data)
        connection.send(EOF)
    except (ConnectionClosed, OSError):
        return


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def _close_output() -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
