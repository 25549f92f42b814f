"""The ASGI app: async routes, and Flask for everything else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route, WebSocketRoute

from garage.api.problem import in_english
from garage.gateway import backups, console, disks, downloads, events, nodes, overlay, problems, ssh, uploads
from garage.gateway.access import AccessLog
from garage.gateway.hub import Hub
from garage.gateway.limits import RateLimits
from garage.gateway.overlay_news import OverlayNews
from garage.gateway.parts import Dial, Parts
from garage.gateway.tracing import RequestIds
from garage.gateway.wsgi import Threaded
from garage.services.context import Context
from garage.shell.dial import dial_ssh

ROUTES = (
    Route("/api/v1/events", events.stream),
    Route("/api/v1/backup", backups.give),
    Route("/api/v1/restore", backups.take, methods=["POST"]),
    Route("/api/v1/image-tasks/{ref}/file", uploads.take, methods=["PUT"]),
    Route("/api/v1/machines/{ref}/console", console.tail),
    Route("/api/v1/machines/{ref}/disk", disks.give),
    WebSocketRoute("/api/v1/machines/{ref}/ssh", ssh.stream),
    Route("/node/v1/spec", nodes.spec),
    Route("/node/v1/invitation", nodes.invitation),
    Route("/node/v1/report", nodes.report, methods=["POST"]),
    Route("/overlay/v1/join", overlay.join, methods=["POST"]),
    Route("/overlay/v1/spec", overlay.spec),
    Route("/overlay/v1/report", overlay.report, methods=["POST"]),
    Route("/overlay/v1/outside", overlay.outside),
    Route("/overlay/v1/leave", overlay.leave, methods=["POST"]),
    Route("/cli/", downloads.index),
    Route("/cli/{name}", downloads.wheel),
)


def make_asgi(ctx: Context, flask_app: Any, *, dial: Dial = dial_ssh) -> Starlette:
    """`flask_app` gets what no async route takes; its `garage_translate` extension gives error texts in the request's language."""
    hub = Hub(ctx)
    news = OverlayNews(ctx, hub)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await hub.start()
        try:
            yield
        finally:
            hub.close()
            news.close()

    app = Starlette(
        routes=ROUTES,
        middleware=[Middleware(RequestIds), Middleware(AccessLog), Middleware(RateLimits, ctx.config)],
        exception_handlers=problems.HANDLERS,
        lifespan=lifespan,
    )
    app.router.default = Threaded(flask_app)  # not a Mount: its pattern leaves out paths with a line feed
    app.router.redirect_slashes = False
    app.state.parts = Parts(ctx, hub, dial)
    app.state.overlay = overlay.OverlayState(news)
    app.state.translate = getattr(flask_app, "extensions", {}).get("garage_translate", in_english)
    return app
