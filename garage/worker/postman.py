"""Sends news on their ways out: a few at a time, each way out by itself, so that a dead one delays neither machines nor the others."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any

from garage.config import Config
from garage.core import news
from garage.core.channels import Message, Undelivered, call_of, mail_of, read_smtp
from garage.core.outward import Guard
from garage.errors import N_, GarageError
from garage.services import outbox
from garage.services.context import Context
from garage.services.outbox import Delivery
from garage.shell import mailer, outward_post
from garage.shell.outward_fetch import server_guard
from garage.worker import failpoint

log = logging.getLogger(__name__)
LOOK = 1.0
AT_ONCE, DOUBTFUL = 8, 4
"""On their way at a time; to ways out that failed the last time: they may take as long as a timeout."""
Explain = Callable[[dict[str, Any], str], str]
"""(an error, a language) → its sentence."""


class Postman:
    """One per worker process, with threads of its own."""

    def __init__(
        self, ctx: Context, config: Config, explain: Explain, *, guard: Callable[[], Guard] | None = None
    ) -> None:
        self._ctx, self._config, self._explain = ctx, config, explain
        self._guard = guard or partial(server_guard, config.home)
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="postman")
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._busy: dict[str, bool] = {}
        """By the id of what is on its way: whether its way out is doubtful."""

    def start(self, stop: threading.Event) -> threading.Thread:
        thread = threading.Thread(target=self._for_ever, args=(stop,), name="postman", daemon=True)
        thread.start()
        return thread

    def _for_ever(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                self.turn()
            except Exception as error:  # noqa: BLE001  (a database that is away must not end the thread)
                log.warning("news: %s", error)
                stop.wait(LOOK)
            self._ended.wait(LOOK)  # the next one of a way out follows as soon as the one before has arrived
            self._ended.clear()

    def turn(self) -> int:
        """Send on what is due; returns how many were begun."""
        with self._lock:
            free, doubtful = AT_ONCE - len(self._busy), DOUBTFUL - sum(self._busy.values())
        found = outbox.claim(self._ctx, free, doubtful) if free > 0 else []
        for delivery in found:
            with self._lock:
                self._busy[delivery.id] = delivery.doubtful
            self._pool.submit(self._deliver, delivery)
        return len(found)

    def idle(self) -> bool:
        with self._lock:
            return not self._busy

    def close(self) -> None:
        """Returns when what was begun has ended."""
        self._pool.shutdown()

    def _deliver(self, delivery: Delivery) -> None:
        try:
            self._try(delivery)
        except Exception:
            log.exception("news %s: it is tried again later", delivery.id)
        finally:
            with self._lock:
                del self._busy[delivery.id]
            self._ended.set()

    def _try(self, delivery: Delivery) -> None:
        """Killed in the middle, it is sent again under the same id by whoever finds it unfinished."""
        try:
            self._send(delivery)
        except Undelivered as lost:
            log.warning("news %s by %s %s: %s", delivery.id, delivery.channel_kind, delivery.channel, lost.error)
            outbox.failed(self._ctx, delivery, lost.error, refused=lost.refused)
        except Exception:
            error = GarageError("internal", N_("an error of ours"), hint=N_("the log of the worker has the details"))
            outbox.failed(self._ctx, delivery, error, refused=False)
            raise
        else:
            failpoint.step()
            outbox.sent(self._ctx, delivery)

    def _send(self, delivery: Delivery) -> None:
        message = self._message(delivery)
        if delivery.channel_kind == "mail":
            self._mail(delivery, message)
            return
        call = call_of(delivery.channel_kind, delivery.target, message, self._ctx.clock())
        outward_post.send(call, self._guard())

    def _mail(self, delivery: Delivery, message: Message) -> None:
        smtp = read_smtp(dict(self._config.smtp))
        if smtp is None:
            hint = N_("an admin sets it up: [smtp] in garage.toml")
            raise Undelivered(GarageError("wrong_state", N_("this garage sends no e-mail"), hint=hint))
        now, organisation = self._ctx.clock(), self._config.organisation
        mail = mail_of(delivery.target, message, sender=smtp.sender, organisation=organisation, now=now)
        mailer.send(smtp, mail)

    def _message(self, delivery: Delivery) -> Message:
        fields = delivery.detail | {"organisation": self._config.organisation, "code": delivery.target.get("code", "")}
        explain = partial(self._in_words, delivery.locale)
        told = news.tell(delivery.kind, fields, delivery.locale, stamp=utc, explain=explain)
        url = self._config.outside + told.path
        return Message(delivery.id, delivery.kind, delivery.at, told.title, told.text, url, delivery.detail)

    def _in_words(self, locale: str, error: dict[str, Any]) -> str:
        return self._explain(error, locale)


def utc(seconds: float) -> str:
    """As 2026-11-20 14:05 UTC: nobody knows where it will be read."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
