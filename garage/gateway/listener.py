"""One reader of server-sent events: what waits for it is bounded, what it may see is decided for each event."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from datetime import UTC, datetime

from garage.services.context import Caller
from garage.services.events import EventView
from garage.services.live import Credential, Sight

WAITING = 256
"""Events that may wait for a reader (about 64 KiB); one that is further behind reloads, which is cheaper for both."""

RESET = -1
"""Stands for an event's number where a reader is told to start over."""


class Listener:
    """A queue of (event number, bytes to send); None ends the stream."""

    def __init__(self, credential: Credential, caller: Caller, machine_id: str | None) -> None:
        self.credential, self.caller = credential, caller
        self._machine_id = machine_id
        self.queue: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue(WAITING)

    def take(self, happened: Iterable[EventView], sight: Sight | None) -> None:
        """Queue what it may see of `happened`; a `sight` of None ends the stream."""
        if sight is None:
            self.end()
            return
        for event in happened:
            if self.wants(event, sight):
                self._put((event.id, encode(event)), latest=event.id)

    def wants(self, event: EventView, sight: Sight) -> bool:
        return sight.shows(event.project_id) and (self._machine_id is None or event.subject == self._machine_id)

    def reset(self, latest: int) -> None:
        """Tell the reader to load everything anew and come again; nothing more follows."""
        self._empty()
        self.queue.put_nowait((RESET, reset(latest)))
        self.queue.put_nowait(None)

    def end(self) -> None:
        self._empty()
        self.queue.put_nowait(None)

    def _put(self, item: tuple[int, bytes], *, latest: int) -> None:
        if self.queue.full():
            self.reset(latest)
        else:
            self.queue.put_nowait(item)

    def _empty(self) -> None:
        while not self.queue.empty():
            self.queue.get_nowait()


def encode(event: EventView) -> bytes:
    """One server-sent event (WHATWG HTML, 9.2): its kind as `event`, its number as `id`, JSON as `data`; times as the API has them."""
    at = datetime.fromtimestamp(event.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    data = json.dumps({"at": at, "kind": event.kind, "subject": event.subject, **event.data}, separators=(",", ":"))
    return f"id: {event.id}\nevent: {event.kind}\ndata: {data}\n\n".encode()


def reset(latest: int) -> bytes:
    """The event that asks a reader to load everything anew."""
    return f"id: {latest}\nevent: reset\ndata: {{}}\n\n".encode()
