"""Watching a server being emptied: which machine moves, how far it is, how long its guest stood still."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from garage.client.api import Api
from garage.client.output import console
from garage.client.words import _

Item = dict[str, Any]
Show = Callable[[Item, list[Item]], None]
"""Told (the drain as it is, moves that have ended since it was told last, the oldest first)."""
OFF = ("stopped", "failed", "lost")
LOOK = 1.0
"""Seconds between two looks."""


def follow(api: Api, drain: Item, *, quiet: bool = False) -> Item:
    """The drain as soon as nothing moves or is about to. Ctrl-C ends the watching alone."""
    if quiet:
        return _until(api, drain, lambda _drain, _ended: None)
    with _bar(drain) if sys.stderr.isatty() else _lines() as show:
        return _until(api, drain, show)


def _until(api: Api, drain: Item, show: Show) -> Item:
    known = max((move["id"] for move in drain["moves"]), default=0)
    while True:
        ended = sorted((move for move in drain["moves"] if move["id"] > known), key=lambda move: int(move["id"]))
        known = max([known, *(move["id"] for move in ended)])
        show(drain, ended)
        if over(drain):
            return drain
        time.sleep(LOOK)
        drain = api.get(f"/nodes/{drain['node']}/drain")


def over(drain: Item) -> bool:
    """Nothing moves, and nothing will before somebody does something, or a minute has passed."""
    if drain["state"] != "draining":
        return True
    busy = any(item["moving"] or _will_go(item) for item in drain["machines"])
    runs = any(item["state"] not in OFF for item in drain["machines"])
    return not busy and runs  # where nothing runs any more, its worker says so in a moment


def _will_go(item: Item) -> bool:
    return item["way"] in ("ends", "waits") or (item["way"] in ("live", "cold") and item["reason"] is None)


def left_over(drain: Item) -> list[Item]:
    return [item for item in drain["machines"] if item["way"] != "ends"]


def line(move: Item) -> str:
    """One move that has ended, for people."""
    name = f"{move['name']}.{move['project']}"
    if not move["arrived"]:
        why = (move["reason"] or {}).get("detail") or _("its owner wants something else first")
        return _("{name} did not move: {why}").format(name=name, why=why)
    if move["pause_ms"] is None or move["way"] == "cold":
        return _("{name} is on {target} now").format(name=name, target=move["target"])
    text = _("{name} runs on {target} now; it stood still for {pause} ms")
    return text.format(name=name, target=move["target"], pause=round(move["pause_ms"]))


@contextmanager
def _lines() -> Iterator[Show]:
    began, last = time.monotonic(), ""

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {text}", file=sys.stderr, flush=True)

    def show(drain: Item, ended: list[Item]) -> None:
        nonlocal last
        for move in ended:
            say(line(move))
        for item in drain["machines"]:
            if item["moving"] and item["id"] != last:
                last = item["id"]
                say(
                    _("{name} moves to {target}").format(
                        name=f"{item['name']}.{item['project']}", target=item["target"]
                    )
                )

    yield show


@contextmanager
def _bar(first: Item) -> Iterator[Show]:
    """One bar for all machines, one for that which moves; a line above them for each that has ended."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    whole = sum(item["way"] in ("live", "cold", "waits") for item in first["machines"])
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console(stderr=True)) as progress:
        everything = progress.add_task(_("emptying {node}").format(node=first["node"]), total=max(1, whole))
        one = progress.add_task("", total=100, visible=False)

        def show(drain: Item, ended: list[Item]) -> None:
            for move in ended:
                progress.console.print(line(move), markup=False)
                progress.advance(everything, int(move["arrived"]))
            moving = next((item for item in drain["machines"] if item["moving"]), None)
            if moving is None:
                progress.update(one, visible=False)
            else:
                name = f"{moving['name']}.{moving['project']} → {moving['target']}"
                progress.update(one, visible=True, completed=moving["percent"], description=name)

        yield show
