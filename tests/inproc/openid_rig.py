"""A garage with a provider, and a browser that goes there and comes back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from flask import Flask
from sqlalchemy import select
from werkzeug.test import TestResponse

import web
from garage.api.app import make_flask
from garage.core.openid import OpenId
from garage.db.models import ApiToken, Base, Session, User
from garage.gateway.serve import make_server
from garage.services.context import Context
from garage.shell.openid import Bounds, HttpProvider
from tests.inproc.openid_providers import CLIENT, SECRET
from tests.inproc.served import wait_until
from tests.inproc.test_pages import Browser
from web.i18n import translate_error

BACK = "/sign-in/openid/back"
TRIP = "garage-openid"


@dataclass
class House:
    """`ctx` knows the provider; `app` has its pages."""

    ctx: Context
    provider: HttpProvider

    @property
    def app(self) -> Flask:
        """One for all of them: making it takes longer than most tests."""
        app = _app()
        app.extensions |= {"garage": self.ctx, "garage_web": self.ctx, "garage_openid": self.provider}
        return app

    def browser(self, cookie: str = "") -> Browser:
        return Browser(self.app, cookie)

    def go(self, browser: Browser, following: str = "/keys", **more: str) -> str:
        """The address at the provider to which the browser is sent."""
        told = browser.client.get("/sign-in/openid", query_string={"next": following, **more})
        assert told.status_code == 303, told.text
        return told.location

    def back(self, browser: Browser, address: str, **headers: str) -> TestResponse:
        there = urlsplit(address)
        assert f"{there.scheme}://{there.netloc}{there.path}" == self.ctx.config.outside + BACK
        return browser.get(f"{there.path}?{there.query}", **headers)

    def rows(self) -> dict[str, list[Any]]:
        """All that there is, but attempts that are counted and the log of who was refused."""
        with self.ctx.db.read() as session:
            tables = [table for table in Base.metadata.sorted_tables if table.name not in ("login_failure", "audit")]
            return {table.name: sorted(map(repr, session.execute(select(table)))) for table in tables}

    def users(self) -> list[str]:
        with self.ctx.db.read() as session:
            return list(session.scalars(select(User.name).order_by(User.name)))

    def sessions(self) -> list[tuple[str, str]]:
        with self.ctx.db.read() as session:
            query = select(User.name, Session.method).join(User, User.id == Session.user_id)
            return [(name, method) for name, method in session.execute(query.order_by(Session.created_at))]

    def tokens(self) -> int:
        with self.ctx.db.read() as session:
            return len(list(session.scalars(select(ApiToken.id))))


def house(ctx: Context, issuer: str, *, bounds: Bounds = Bounds(whole=60.0), **settings: Any) -> House:  # noqa: B008
    """Anybody of example.ac.jp may come in, unless `settings` say otherwise."""
    rules = {"domains": ("example.ac.jp",), "label": "Example University", **settings}
    openid = OpenId(issuer, CLIENT, **rules)
    ctx = replace(ctx, config=replace(ctx.config, openid=openid))
    return House(ctx, HttpProvider(openid, secret(ctx.config.home), bounds))


@cache
def _app() -> Flask:
    nobody = cast(Context, None)  # each house puts its own in
    app = make_flask(nobody, translate=translate_error)
    web.register(app, nobody)
    return app


@contextmanager
def running(app: Any, ctx: Context) -> Iterator[str]:
    """The address at which an ASGI app is served."""
    server = make_server(app, replace(ctx.config, listen="127.0.0.1:0"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started, 60)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)


def secret(home: Path) -> Path:
    path = home / "keys" / "openid.secret"
    path.parent.mkdir(exist_ok=True)
    path.write_text(SECRET + "\n")
    path.chmod(0o600)
    return path


def entered(response: TestResponse) -> str:
    """The cookie of the session that the answer opens; empty where it opens none."""
    for cookie in response.headers.getlist("Set-Cookie"):
        name, _, rest = cookie.partition("=")
        if name == "garage":
            return rest.partition(";")[0]
    return ""


def refused(response: TestResponse, status: int, code: str) -> None:
    """A page that says so, and lets nobody in."""
    assert response.status_code == status, response.text
    assert f"<code>{code}</code>" in response.text
    assert "notice-bad" in response.text
    assert not entered(response)
