"""Leases that end soon or are over: people are told on standard error, with the command that helps. Programs have it in the JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import click

from garage.client.output import Item, left, local_time, short
from garage.client.state import Cli
from garage.client.words import _

SHOWN = 5
"""An admin's list may have everybody's; the column of what is left has the others."""
ENDED = ("deleting", "gone", "lost")
"""States in which there is nothing left to renew."""


def warn(cli: Cli, items: Sequence[Item]) -> None:
    """Two lines for each machine of `items` that is in its warning period or past its lease's end, the earliest first."""
    now = datetime.now(UTC)
    due = [item for item in items if item["state"] not in ENDED and (item["lease_warned"] or _over(item, now))]
    if cli.json or not due:
        return
    due.sort(key=lambda item: str(item["lease_until"]))
    for item in due[:SHOWN]:
        click.echo(f"garage: {_told(item, now)}\n  → garage machine renew {short(item)}", err=True)
    if len(due) > SHOWN:
        text = _("garage: the leases of {count} more end soon or are over")
        click.echo(text.format(count=len(due) - SHOWN), err=True)


def _over(item: Item, now: datetime) -> bool:
    return datetime.fromisoformat(item["lease_until"]) <= now


def _told(item: Item, now: datetime) -> str:
    text = (
        _("the lease of {name} ended {time}; unless it is renewed, the machine is deleted {deletes}")
        if _over(item, now)
        else _(
            "the lease of {name} ends {time}, in {left}; unless it is renewed, the machine stops then and is deleted {deletes}"
        )
    )
    times = {"time": local_time(item["lease_until"]), "deletes": local_time(item["deletes_at"])}
    return text.format(name=short(item), left=left(item["lease_until"], now), **times)
