"""`garage audit`: who did what, and the proof that nobody has changed it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

import click

from garage.client import output, rfc5424
from garage.client.errors import ClientError, local_error
from garage.client.output import Item, local_time
from garage.client.state import Cli, Group, pass_cli
from garage.client.words import N_, _

BROKEN = {
    "missing": N_("the entry was removed"),
    "changed": N_("the entry was changed, or its seal"),
    "added": N_("the entry was put in afterwards"),
    "gap": N_("seals before it were removed"),
    "signature": N_("the seal was not made by this garage"),
    "cut": N_("the log's beginning was removed by hand"),
    "head": N_("it is not the head that was noted: the log's end was removed, or its seals were made anew"),
}


HEAD = re.compile(r"\d{1,18}:([0-9a-f]{64})?")  # no hash where nothing is sealed yet


class Moment(click.ParamType[str]):
    """A date or a date with time, in the reader's time zone where it names none; travels as RFC 3339."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            self.fail(_("{value} is no time: write 2026-11-20 or 2026-11-20T14:05").format(value=value), param, ctx)
        return found.astimezone().isoformat(timespec="seconds")


@click.group("audit", cls=Group, help=_("Who did what."))
def audit() -> None:
    pass


def _filters(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--until", type=Moment(), help=_("Only before this time.")),
        click.option("--since", type=Moment(), help=_("Only from this time on: 2026-11-20 or 2026-11-20T14:05.")),
        click.option("--project", default="", help=_("Only in this project.")),
        click.option("--action", default="", help=_("Only this: machine.create, or of its kind: machine.")),
        click.option("--subject", default="", help=_("Only what was done to this: a part of its name.")),
        click.option("--user", "actor", default="", help=_("Only what this user did.")),
    ):
        command = option(command)
    return command


@audit.command("list", help=_("The audit log, newest first: your projects, all for an admin."))
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
@_filters
@pass_cli
def audit_list(cli: Cli, /, limit: int, **filters: str | None) -> None:
    columns = (
        (_("TIME"), lambda item: local_time(item["at"])),
        (_("WHO"), lambda item: item["actor"]),
        (_("WHAT"), lambda item: item["action"]),
        (_("TO WHAT"), lambda item: item["subject"]),
        (_("DETAIL"), lambda item: json.dumps(item["detail"], ensure_ascii=False) if item["detail"] else ""),
    )
    output.show_list(cli, cli.api().every("/audit", limit, **filters), columns)


@audit.command("export", help=_("The audit log, oldest first, a line per entry on standard output."))
@click.option("--format", "form", type=click.Choice(["rfc5424", "jsonl"]), default="jsonl", show_default=True)
@_filters
@pass_cli
def audit_export(cli: Cli, /, form: str, **filters: str | None) -> None:
    host = cli.profile().url.partition("://")[2].rpartition(":")[0] or "-"
    for item in cli.api().walk("/audit", order="oldest", limit=200, **filters):
        line = rfc5424.line(item, host) if form == "rfc5424" else json.dumps(item, ensure_ascii=False)
        click.echo(line)


@audit.command("verify", help=_("Look whether an entry was changed, removed or put in; names the first one (admin)."))
@click.option("--head", metavar="NUMBER:HASH", help=_("What an earlier look has printed: finds a cut-off end, too."))
@pass_cli
def audit_verify(cli: Cli, head: str | None) -> None:
    number, _colon, hash_ = (head or "").partition(":")
    if head and not HEAD.fullmatch(head):
        raise click.BadParameter(_("as an earlier look has printed it: NUMBER:HASH"), param_hint="--head")
    proof = cli.api().get("/audit/proof", number=number, hash=hash_)
    if proof["broken"]:
        raise _broken(proof["broken"])
    text = _("The log is whole: {entries} entries, {waiting} not sealed yet. Head: {number}:{hash}")
    output.done(cli, proof, text.format(**proof))


def _broken(broken: Item) -> ClientError:
    """A script goes no further."""
    told = {**broken, "reason": _(BROKEN[broken["reason"]])}
    hint = "compare it with an export or a backup from before"
    return local_error(
        "wrong_state", "the audit log is broken at entry {entry} (seal {number}): {reason}", hint=hint, **told
    )
