"""`garage user offboard`: somebody leaves."""

from __future__ import annotations

import time

import click

from garage.client import output
from garage.client.output import Item
from garage.client.state import Cli, Command, pass_cli
from garage.client.words import N_, _

PATIENCE, PAUSE = 15.0, 0.5
"""Seconds that one waits for guests to forget keys, and between two looks."""
STATES = {
    "waiting": N_("does not answer yet"),
    "stopped": N_("is off: they go when it starts"),
    "unreachable": N_("its node does not answer"),
}


@click.command(
    "offboard", cls=Command, help=_("Let a user go: end all that lets them in, hand over or delete what is theirs.")
)
@click.argument("name")
@click.option("--to", metavar="OTHER", default="", help=_("Who takes over what they alone own."))
@click.option("--delete", "doomed", is_flag=True, help=_("Delete the machines and volumes of what they alone own."))
@click.option("--yes", is_flag=True, help=_("Do not ask."))
@pass_cli
def offboard(cli: Cli, name: str, to: str, doomed: bool, yes: bool) -> None:
    if doomed == bool(to):
        raise click.UsageError(_("say --to OTHER or --delete"))
    if doomed and not yes:
        cli.sure(_("Delete all machines and volumes of the projects that {name} alone owns?").format(name=name))
    done = cli.api().post(f"/users/{name}/offboard", {"to": to})
    done = _followed(cli, name, done)
    text = _("{name} is shut out.").format(name=name)
    if done["projects"]:
        text += " " + _("{to} owns now: {projects}.").format(to=to, projects=", ".join(done["projects"]))
    if done["deleted"]:
        text += " " + _("Machines being deleted: {count}.").format(count=done["deleted"])
    output.done(cli, done, text + " " + _keys(done["keys"]))


def _followed(cli: Cli, name: str, done: Item) -> Item:
    """With what became of the keys."""
    end = time.monotonic() + PATIENCE
    while any(key["state"] == "waiting" for key in done["keys"]) and time.monotonic() < end:
        time.sleep(PAUSE)
        done = cli.api().get(f"/users/{name}/offboarding")
    return done


def _keys(keys: list[Item]) -> str:
    left = [key for key in keys if key["state"] != "gone"]
    said = _("Machines from which keys were removed: {count}.").format(count=len(keys) - len(left))
    lines = (f"{key['machine']}.{key['project']}: {_(STATES[key['state']])}" for key in left)
    return "\n".join((said, *([_("Still there:")] if left else []), *lines))
