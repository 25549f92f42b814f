"""What people and programs are shown: tables by rich, or JSON; times in the reader's zone."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from garage.client.words import _

if TYPE_CHECKING:
    from rich.console import Console

    from garage.client.errors import ClientError
    from garage.client.state import Cli

Item = dict[str, Any]
Column = tuple[str, Callable[[Item], object]]
"""(heading, what stands in it)."""
WIDE = 1000
"""Columns where nobody looks: nothing is cut off or wrapped in a pipe."""


def console(*, stderr: bool = False) -> Console:
    """Colour only on a terminal and without NO_COLOR."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    tty = stream.isatty()
    return Console(
        file=stream, width=None if tty else WIDE, no_color=bool(os.environ.get("NO_COLOR")) or not tty, highlight=False
    )


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def show_list(cli: Cli, items: Sequence[Item], columns: Sequence[Column], *, empty: str = "") -> None:
    """A table, or `{"items": […]}`; `empty` says what to do when there is nothing."""
    if cli.json:
        print_json({"items": list(items)})
        return
    if not items:
        click.echo(empty or _("none"), err=True)
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading, _value in columns:
        table.add_column(heading, overflow="fold", no_wrap=not sys.stdout.isatty())
    for item in items:
        table.add_row(*(plain(value(item)) for _heading, value in columns))
    console().print(table)


def show_item(cli: Cli, item: Item, columns: Sequence[Column]) -> None:
    """Names and values one below the other, or the item's JSON."""
    if cli.json:
        print_json(item)
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for heading, value in columns:
        if text := plain(value(item)):
            table.add_row(heading, text)
    console().print(table)


def done(cli: Cli, item: Item | None, text: str) -> None:
    """One line for people, the API's answer for programs."""
    if cli.json:
        print_json(item if item is not None else {})
    else:
        click.echo(text)


def plain(value: object) -> str:
    """A cell's text: rich reads square brackets as markup, so they are escaped."""
    from rich.markup import escape

    return escape("" if value is None else str(value))


def short(item: Item) -> str:
    """How a person names a machine: NAME, or NAME.PROJECT in a project that is not personal to its owner."""
    return str(item["name"] if item["project"] == item["owner"] else f"{item['name']}.{item['project']}")


def local_time(text: str | None) -> str:
    """RFC 3339 as `2026-11-20 14:05 JST`."""
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M %Z") if text else ""


def until(text: str | None) -> str:
    """A time to come; a past one says so."""
    over = text is not None and datetime.fromisoformat(text) <= datetime.now(UTC)
    return f"{local_time(text)} ({_('over')})" if over else local_time(text)


def left(text: str, now: datetime) -> str:
    """How long until a time, in the two largest units; "over" when it has passed."""
    seconds = (datetime.fromisoformat(text) - now).total_seconds()
    if seconds <= 0:
        return _("over")
    days, hours, minutes = int(seconds // 86_400), int(seconds % 86_400 // 3600), int(seconds % 3600 // 60)
    if days:
        return _("{days} d {hours} h").format(days=days, hours=hours)
    return _("{hours} h {minutes} min").format(hours=hours, minutes=minutes)


def labels(given: dict[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in sorted(given.items()))


def gib(mib: int) -> str:
    return f"{mib / 1024:g} GiB"


def show_error(cli: Cli, error: ClientError) -> None:
    """On standard error: what happened and what helps, or problem+json."""
    if cli.json:
        click.echo(json.dumps(error.problem, ensure_ascii=False, indent=2), err=True)
        return
    click.echo(f"garage: {error.detail}", err=True)
    for other in error.problem.get("errors", [])[1:]:  # the first is the detail itself
        click.echo(f"  {other['detail']}", err=True)
    if error.hint:
        click.echo(f"  → {error.hint}", err=True)
