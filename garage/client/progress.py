"""Waiting for a machine, with its progress in the words of the states."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from garage.client.api import Api
from garage.client.output import console
from garage.client.words import state_word

Item = dict[str, Any]
Show = Callable[[str, str], None]
"""Told (state, step) at every change."""
RECONNECT_SECONDS = 1.0
GUESS_SECONDS = 30.0
"""What a bar assumes where the garage has no experience yet."""


def follow(api: Api, machine_id: str, until: Collection[str], show: Show) -> Item:
    """The machine as soon as its state is one of `until`, or `gone`. Outages of the stream are bridged by asking again."""
    last_id = ""
    while True:
        try:
            for message in api.events(machine_id, last_id):
                last_id = message.id
                # asking after the stream has begun leaves no gap between the two
                machine: Item = api.get(f"/machines/{machine_id}")
                show(machine["state"], machine["step"])
                if machine["state"] in (*until, "gone"):
                    return machine
        except httpx.TransportError:
            pass
        time.sleep(RECONNECT_SECONDS)


def wait(api: Api, machine: Item, until: Collection[str], *, quiet: bool = False) -> Item:
    """Follow with a bar on a terminal, with a line per step otherwise, in silence for programs."""
    if quiet:
        return follow(api, machine["id"], until, lambda _state, _step: None)
    reporter = _bar(api) if sys.stderr.isatty() else _lines()
    with reporter as show:
        show(machine["state"], machine["step"])
        return follow(api, machine["id"], until, show)


@contextmanager
def _lines() -> Iterator[Show]:
    began, seen = time.monotonic(), ""

    def show(state: str, step: str) -> None:
        nonlocal seen
        word = state_word(state, step)
        if word != seen:
            print(f"{time.monotonic() - began:6.1f} s  {word}", file=sys.stderr, flush=True)
            seen = word

    yield show


@contextmanager
def _bar(api: Api) -> Iterator[Show]:
    """The bar moves with time against the recent machines' median; it is full only when the machine is ready."""
    from garage.client.bar import Moving

    expected = (api.get("/status").get("forecast") or {}).get("seconds") or GUESS_SECONDS
    with Moving(expected, console(stderr=True)) as progress:
        yield progress.show
