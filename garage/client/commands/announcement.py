"""`garage announcement`: what stands at the top of every page."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from garage.client import output
from garage.client.commands.audit import Moment
from garage.client.output import Item, local_time
from garage.client.state import Cli, Group, pass_cli
from garage.client.words import _


@click.group("announcement", cls=Group, help=_("What stands at the top of every page."))
def announcement() -> None:
    pass


@announcement.command("show", help=_("What is announced."))
@pass_cli
def show(cli: Cli) -> None:
    found = cli.api().get("/announcement")["announcement"]
    if found is None:
        output.done(cli, {"announcement": None}, _("nothing is announced"))
        return
    output.show_item(
        cli,
        found,
        (
            (_("ENGLISH"), lambda item: item["text_en"]),
            (_("JAPANESE"), lambda item: item["text_ja"]),
            (_("KIND"), lambda item: item["severity"]),
            (_("BEGINS"), lambda item: local_time(item["since"])),
            (_("ENDS"), lambda item: local_time(item["until"])),
            (_("SHOWN NOW"), lambda item: _("yes") if item["shown"] else _("no")),
        ),
    )


@announcement.command(
    "set", help=_("Announce something in English and Japanese, in place of what was announced (admin).")
)
@click.option("--en", "text_en", required=True, help=_("The text in English."))
@click.option("--ja", "text_ja", required=True, help=_("The text in Japanese."))
@click.option("--warning", is_flag=True, help=_("Readers cannot close it."))
@click.option("--from", "since", type=Moment(), help=_("Shown from this time on: 2026-11-20 or 2026-11-20T14:05."))
@click.option("--until", type=Moment(), help=_("Not shown from this time on."))
@pass_cli
def set_(cli: Cli, /, warning: bool, **given: Any) -> None:
    body = {**given, "severity": "warning" if warning else "info"}
    made: Item = cli.api().put("/announcement", body)
    told = made["announcement"]
    text = _("It stands at the top of every page now.")
    if not told["shown"]:
        since = datetime.fromisoformat(told["since"]).isoformat()
        text = _("It stands at the top of every page from {since} on.").format(since=local_time(since))
    output.done(cli, made, text)


@announcement.command("clear", help=_("Announce it no more (admin)."))
@pass_cli
def clear(cli: Cli) -> None:
    cli.api().delete("/announcement")
    output.done(cli, None, _("nothing is announced any more"))
