"""`garage machine limit`: what one machine may take of what its node shares."""

from __future__ import annotations

import click

from garage.client import output
from garage.client.completing import MACHINE
from garage.client.output import Item
from garage.client.state import Cli, Command, pass_cli
from garage.client.words import _

UNITS = {"disk_iops": "{} IOPS", "disk_mb": "{} MB/s", "net_mbit": "{} Mbit/s", "connections": _("{} connections")}
NONE = {
    "disk_iops": _("any IOPS"),
    "disk_mb": _("any MB/s"),
    "net_mbit": _("any Mbit/s"),
    "connections": _("any number of connections"),
}
DEFAULT = "default"


class Figure(click.ParamType[int | str]):
    """A whole number, or “default”."""

    name = "NUMBER"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        text = str(value)
        if text == DEFAULT or (text.isascii() and text.isdigit() and len(text) < 10):
            return text if text == DEFAULT else int(text)
        self.fail(_("{value} is neither a number nor “default”").format(value=text), param, ctx)


def limits(item: Item) -> str:
    """ "5000 IOPS, 250 MB/s, 100 Mbit/s (set), 8192 connections"."""
    parts = []
    for name, unit in UNITS.items():
        value = item["limits"][name]
        text = unit.format(value) if value else NONE[name]
        parts.append(text + (" " + _("(set)") if name in item["limits_own"] else ""))
    return ", ".join(parts)


@click.command(
    "limit",
    cls=Command,
    help=_(
        "Set what a machine may take of what its node shares (admin), also while it runs: 0 is no limit, “default” as its size has it."
    ),
)
@click.argument("name", type=MACHINE)
@click.option("--disk-iops", type=Figure(), help=_("Reads and writes per second."))
@click.option("--disk-mb", type=Figure(), help=_("MB per second, read and written."))
@click.option("--net-mbit", type=Figure(), help=_("Mbit per second, each way."))
@click.option("--connections", type=Figure(), help=_("Open at the same time."))
@pass_cli
def limit(cli: Cli, /, name: str, **figures: int | str | None) -> None:
    api = cli.api()
    changes = {key: None if value == DEFAULT else value for key, value in figures.items() if value is not None}
    found = api.put(f"/machines/{name}/limits", changes) if changes else api.get(f"/machines/{name}")
    output.done(cli, found, f"{output.short(found)}: {limits(found)}")
