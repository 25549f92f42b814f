"""What settings bound: how long things are kept, and how much one address may ask for."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select
from starlette.applications import Starlette

from garage.core.rates import network
from garage.db.models import EventRow
from garage.db.news_models import News
from garage.db.overlay_models import Measurement
from garage.errors import GarageError
from garage.gateway.limits import ANONYMOUS, RateLimits
from garage.services import accounts, tending
from garage.services.context import Caller, Context
from garage.worker.housekeeping import Housekeeper
from tests.conftest import Clock
from tests.inproc.overlay_nodes import member

DAY = 86_400.0


def keeping(ctx: Context, **settings: Any) -> Context:
    return replace(ctx, config=replace(ctx.config, **settings))


def swept(ctx: Context) -> None:
    """By a worker, an hour later than it began."""
    times = iter((0.0, 61.0, 61.0))
    Housekeeper(ctx, lambda: next(times)).turn()


def count(ctx: Context, table: type) -> int:
    with ctx.db.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_events_are_kept_for_hours_and_news_for_days(ctx: Context, alice: Caller, clock: Clock) -> None:
    with ctx.db.write() as session:
        for number in range(2):  # the newest event stays whatever its age
            session.add(EventRow(at=clock() + number, kind="image", project_id=None, subject="x", data={}))
        session.add(
            News(id="n" * 20, user_id=alice.user_id, at=clock(), kind="machine.failed", detail={}, read_at=None)
        )
    events = count(ctx, EventRow)
    clock.forward(5 * DAY)
    swept(keeping(ctx, keep_events_hours=6 * 24.0, keep_news_days=6.0))
    assert (count(ctx, EventRow), count(ctx, News)) == (events, 1)
    swept(keeping(ctx, keep_events_hours=4 * 24.0, keep_news_days=6.0))
    assert (count(ctx, EventRow), count(ctx, News)) == (1, 1)
    swept(keeping(ctx, keep_events_hours=4 * 24.0, keep_news_days=4.0))
    assert (count(ctx, EventRow), count(ctx, News)) == (1, 0)


def test_log_files_are_kept_for_days(ctx: Context) -> None:
    folder = ctx.config.home / "log" / "netd"
    folder.mkdir(parents=True)
    for name in ("@old.s", "@young.s", "current"):
        (folder / name).write_text("x")
    for name in ("@old.s", "current"):
        os.utime(folder / name, (time.time() - 5 * DAY,) * 2)
    for days, left in ((6.0, ["@old.s", "@young.s", "current"]), (4.0, ["@young.s", "current"])):
        swept(keeping(ctx, keep_logs_days=days))
        assert sorted(path.name for path in folder.iterdir()) == left


def test_throughput_is_kept_for_days_but_the_newest_of_each_pair(ctx: Context, admin: Caller, clock: Clock) -> None:
    ends = {"client_id": member(ctx, admin, "one", 1).id, "server_id": member(ctx, admin, "two", 2).id}
    with ctx.db.write() as session:
        for latest in (True, False):
            asked = {"number": 1, "state": "done", "seconds": 1, "mbit": 1, "asked_at": clock(), "ended_at": clock()}
            session.add(Measurement(id=f"{latest:020}", latest=latest, **asked, **ends))
    clock.forward(5 * DAY)
    for days, left in ((6.0, 2), (4.0, 1)):
        tending.forget(keeping(ctx, keep_metrics_days=days))
        assert count(ctx, Measurement) == left


# --- how much one address may ask for -----------------------------------------------------------------------------------


class Gate:
    """The rate limits before an app that answers 200, at one moment."""

    def __init__(self, ctx: Context, **settings: int) -> None:
        self._limits = RateLimits(self._fine, keeping(ctx, **settings).config, clock=lambda: 0.0)

    @staticmethod
    async def _fine(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def ask(self, address: str, token: str = "") -> str:
        """ "fine", or of which policy there is none left."""
        sent: list[dict[str, Any]] = []

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"authorization", f"Bearer {token}".encode())] if token else []
        scope = {
            "app": Starlette(),
            "type": "http",
            "path": "/api/v1/me",
            "method": "GET",
            "query_string": b"",
            "headers": headers,
        }
        asyncio.run(self._limits({**scope, "client": (address, 1)}, None, send))  # type: ignore[arg-type]
        if sent[0]["status"] == 200:
            return "fine"
        assert sent[0]["status"] == 429
        return dict(sent[0]["headers"])[b"ratelimit-policy"].decode().split('"')[1]

    def left(self, *asked: tuple[str, str]) -> list[str]:
        return [self.ask(*each) for each in asked]


def test_an_address_is_counted_whatever_its_tokens(ctx: Context) -> None:
    gate = Gate(ctx, rate_address=3)
    assert gate.left(*(("192.0.2.1", f"token{number}") for number in range(4))) == ["fine"] * 3 + ["address"]
    assert gate.ask("192.0.2.2", "token0") == "fine"
    assert gate.left(*(("127.0.0.1", f"other{number}") for number in range(4))) == ["fine"] * 4, "perhaps a proxy"
    free = Gate(ctx, rate_address=0, rate_caller=0)
    assert set(free.left(*[("192.0.2.1", "token")] * 400, *[("192.0.2.1", "")] * 400)) == {"fine"}


def test_whoever_brings_no_token_has_less(ctx: Context) -> None:
    gate = Gate(ctx)
    assert gate.left(*[("192.0.2.1", "")] * (ANONYMOUS + 1)) == ["fine"] * ANONYMOUS + ["anonymous"]
    assert gate.ask("192.0.2.1", "token") == "fine"
    assert gate.ask("192.0.2.2") == "fine"
    assert gate.left(*[("127.0.0.1", "")] * (ANONYMOUS + 1))[-1] == "anonymous"


@pytest.mark.parametrize("token", ["", "token"])
def test_a_64_is_one_address(ctx: Context, token: str) -> None:
    gate = Gate(ctx, rate_address=3)
    asked = [gate.ask(f"2001:db8:0:1::{number:x}", token and f"{token}{number}") for number in range(5)]
    assert asked == ["fine"] * 3 + ["address" if token else "anonymous"] * 2
    assert gate.ask("2001:db8:0:2::1", token) == "fine"


def test_an_ipv4_address_is_itself_however_it_is_written() -> None:
    assert network("192.0.2.1") == network("::ffff:192.0.2.1") == "192.0.2.1"
    assert network("::ffff:192.0.2.2") == "192.0.2.2"
    assert network("2001:db8:0:1:ffff::9") == "2001:db8:0:1::/64"
    assert (network(""), network("pipe")) == ("", "pipe")


def test_passwords_are_sprayed_from_a_64_as_from_one_address(ctx: Context, admin: Caller) -> None:
    def attempt(number: int) -> str:
        with pytest.raises(GarageError) as error:
            accounts.sign_in(ctx, f"name{number}", "Spring2026!", f"2001:db8:0:1::{number:x}")
        return error.value.code

    codes = [attempt(number) for number in range(accounts.ATTEMPTS_PER_ADDRESS + 1)]
    assert codes == ["wrong_credentials"] * accounts.ATTEMPTS_PER_ADDRESS + ["too_many_attempts"]
