"""`garage volume snapshot …`: a volume as it was."""

from __future__ import annotations

import click

from garage.client import output
from garage.client.commands.snapshot import said, size, state, until
from garage.client.completing import VOLUME
from garage.client.output import local_time
from garage.client.state import Cli, Group, pass_cli
from garage.client.words import _

_wait = click.option("--wait/--no-wait", default=True, help=_("Wait until it is there."))


@click.group("snapshot", cls=Group, help=_("A volume as it was: keep it, return to it."))
def snapshot() -> None:
    pass


@snapshot.command("create", help=_("Keep what is on a volume now; no machine has it, or one that is ready or off."))
@click.argument("volume", type=VOLUME)
@click.argument("name", default="")
@click.option(
    "--crash-consistent",
    is_flag=True,
    help=_("Without freezing the machine's file systems: what is on it is as after a power cut."),
)
@_wait
@pass_cli
def create(cli: Cli, volume: str, name: str, crash_consistent: bool, wait: bool) -> None:
    api = cli.api()
    made = api.post(f"/volumes/{volume}/snapshots", {"name": name, "crash_consistent": crash_consistent})
    if wait:
        made = until(api, f"/volumes/{volume}/snapshots/{made['name']}", "making")
    output.done(cli, made, said(made))


@snapshot.command("list", help=_("A volume's snapshots, the newest first."))
@click.argument("volume", type=VOLUME)
@pass_cli
def list_(cli: Cli, volume: str) -> None:
    columns = (
        (_("NAME"), lambda item: item["name"]),
        (_("MADE"), lambda item: local_time(item["made_at"] or item["created_at"])),
        (_("STATE"), state),
        (_("SIZE"), size),
    )
    found = cli.api().get(f"/volumes/{volume}/snapshots")["items"]
    empty = _("none; keep what is on it now: garage volume snapshot create {name}").format(name=volume)
    output.show_list(cli, found, columns, empty=empty)


@snapshot.command("revert", help=_("Return a volume to a snapshot: what came on it since is lost; it does not shrink."))
@click.argument("volume", type=VOLUME)
@click.argument("name")
@click.option("--yes", "-y", is_flag=True, help=_("Do not ask."))
@_wait
@pass_cli
def revert(cli: Cli, volume: str, name: str, yes: bool, wait: bool) -> None:
    if not yes:
        question = _("Return {volume} to {name}? What came on it since is lost.")
        cli.sure(question.format(volume=volume, name=name))
    api = cli.api()
    found = api.post(f"/volumes/{volume}/snapshots/{name}/revert")
    if wait:
        found = until(api, f"/volumes/{volume}/snapshots/{name}", "reverting")
    output.done(cli, found, _("{volume} holds what it held at {name}.").format(volume=volume, name=name))


@snapshot.command("delete", help=_("Delete a snapshot; the others stay."))
@click.argument("volume", type=VOLUME)
@click.argument("name")
@click.option("--yes", "-y", is_flag=True, help=_("Do not ask."))
@pass_cli
def delete(cli: Cli, volume: str, name: str, yes: bool) -> None:
    if not yes:
        question = _("Delete the snapshot {name} of {volume}?").format(name=name, volume=volume)
        cli.sure(question)
    found = cli.api().delete(f"/volumes/{volume}/snapshots/{name}")
    output.done(cli, found, _("Deleting {name}.").format(name=name))
