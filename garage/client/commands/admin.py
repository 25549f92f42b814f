"""`garage admin`: what admins set for the whole garage."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import click

from garage.client import output
from garage.client.commands import backup, simulate
from garage.client.errors import local_error
from garage.client.output import Item
from garage.client.state import Cli, Group, pass_cli
from garage.client.words import _


@click.group("admin", cls=Group, help=_("For admins."))
def admin() -> None:
    pass


admin.add_command(simulate.simulate)
for command in (backup.backup, backup.restore, backup.adopt):
    admin.add_command(command)


@admin.group("pool", cls=Group, help=_("Machines that are booted in advance."))
def pool() -> None:
    pass


@pool.command("list", help=_("How many wait, what they hold, how often a request found one in the last week."))
@pass_cli
def pool_list(cli: Cli) -> None:
    columns = (
        (_("IMAGE"), lambda item: item["image"]),
        (_("SIZE"), lambda item: item["size"]),
        (_("WAITING"), lambda item: f"{item['waiting']} / {item['wanted']}"),
        (_("STARTING"), lambda item: item["starting"] or ""),
        (_("FIXED"), lambda item: _("by demand") if item["fixed"] is None else item["fixed"]),
        (_("MEMORY"), lambda item: output.gib(item["memory_mib"])),
        (_("FOUND ONE"), _hits),
    )
    output.show_list(cli, cli.api().get("/pools")["items"], columns, empty=_("no machines wait"))


def _hits(item: Item) -> str:
    asked = item["taken"] + item["missed"]
    return f"{item['taken']} / {asked} ({100 * item['taken'] // asked} %)" if asked else "-"


@pool.command("set", help=_("Have COUNT machines wait on each node, or “auto”: as many as demand says."))
@click.argument("image")
@click.argument("size")
@click.argument("count")
@pass_cli
def pool_set(cli: Cli, image: str, size: str, count: str) -> None:
    if count != "auto" and not count.isdecimal():
        raise click.BadParameter(_("a number, or auto"), param_hint="COUNT")
    found = cli.api().put(f"/pools/{image}/{size}", {"fixed": None if count == "auto" else int(count)})
    output.done(cli, found, f"{image} {size}: {found['waiting']} / {found['wanted']}")


@admin.command(
    "burn-in", help=_("Break a garage made for it, at random, and examine it after each fault. Yours is not touched.")
)
@click.option("--minutes", default=5.0, show_default=True, help=_("How long; each fault comes at least once."))
@click.option("--seed", type=int, help=_("Repeats an earlier run's draws."))
@click.option("--nodes", default=4, show_default=True, type=click.IntRange(1, 200), help=_("Simulated servers."))
def burn_in(minutes: float, seed: int | None, nodes: int) -> None:
    beside = Path(sys.executable).with_name("garage-server")
    program = str(beside) if beside.exists() else shutil.which("garage-server")
    if program is None:
        hint = "run it on a garage's server, or in a checkout's own environment"
        raise local_error("unavailable", "the controller's programs are not installed here", hint=hint)
    words = [
        "burn-in",
        "--minutes",
        str(minutes),
        "--nodes",
        str(nodes),
        *(["--seed", str(seed)] if seed is not None else []),
    ]
    sys.exit(subprocess.run([program, *words], check=False).returncode)
