"""Serving the ASGI app in one process: the listen address, TLS, what is logged, how it goes down."""

from __future__ import annotations

import asyncio
import logging
import socket
from asyncio import sslproto
from typing import Any

import uvicorn
from starlette.applications import Starlette

from garage.config import Config
from garage.gateway.echo import open_echo
from garage.services.context import Context

GRACE_SECONDS = 3
"""What running requests get to finish when the process is asked to stop; streams are ended at once."""
KEEP_ALIVE_SECONDS = 30
"""For how long a connection may be silent between two requests: nodes report every ten seconds, each time without a new handshake."""
TLS_BUFFER = 8 * 1024
"""Bytes that asyncio holds for each TLS connection; its own 256 KiB are half a gigabyte for a thousand sites, which keep two each."""
MAX_FRAME = 1024 * 1024


def quiet(record: logging.LogRecord) -> bool:
    """Leave out uvicorn's own lines about WebSockets (they hold query strings) and its complaint about refusals before the upgrade."""
    text = str(record.msg)
    return "WebSocket %s" not in text and "without completing handshake" not in text


class Server(uvicorn.Server):
    """Ends the streams first, or a shutdown would wait for each of them."""

    def __init__(self, config: uvicorn.Config, app: Starlette) -> None:
        super().__init__(config)
        self._app = app
        self._echo: list[asyncio.BaseTransport] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.config.is_ssl and self.started:
            host, port, *_ = self.servers[0].sockets[0].getsockname()
            self._echo = await open_echo(host, port)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.parts.hub.close()
        for transport in self._echo:
            transport.close()
        await super().shutdown(sockets)


def serve(ctx: Context, asgi_app: Starlette, config: Config) -> None:  # noqa: ARG001  (the app holds it already)
    """Until SIGTERM or SIGINT. TLS by `$GARAGE_HOME/keys/tls.{key,crt}` on any address but this server's own loopback."""
    make_server(asgi_app, config).run()


def make_server(asgi_app: Starlette, config: Config) -> Server:
    """Proxy headers are not believed, the server does not say what it is, and the access log is our own (`access.py`)."""
    logging.getLogger("uvicorn.access").disabled = True  # it would write query strings and one-time links
    logging.getLogger("uvicorn.error").addFilter(quiet)
    host, _, port = config.listen.rpartition(":")
    sslproto.SSLProtocol.max_size = TLS_BUFFER
    keys = config.home / "keys"
    tls: dict[str, Any] = {"ssl_keyfile": keys / "tls.key", "ssl_certfile": keys / "tls.crt"} if config.tls else {}
    made = uvicorn.Config(
        asgi_app,
        host=host.strip("[]"),
        port=int(port),
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        lifespan="on",
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        ws="websockets-sansio",
        ws_max_size=MAX_FRAME,
        ws_per_message_deflate=False,  # SSH is encrypted: nothing to compress, and CPU is the limit
        ws_ping_interval=20.0,  # keeps address translators on the way awake
        ws_ping_timeout=None,  # a stalled machine makes us stop reading, pongs too; TCP finds out who is really gone
        **tls,
    )
    made.load()
    if made.ssl:
        made.ssl.num_tickets = 0  # nobody who keeps connections resumes them, and each would cost 7 KB
    return Server(made, asgi_app)
