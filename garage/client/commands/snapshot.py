"""`garage machine snapshot …`: a machine's disk as it was."""

from __future__ import annotations

import time

import click

from garage.client import output
from garage.client.api import Api
from garage.client.completing import MACHINE
from garage.client.errors import ClientError
from garage.client.output import Item, local_time
from garage.client.state import Cli, Group, pass_cli
from garage.client.words import N_, _

STATES = {
    "making": N_("being made"),
    "ready": N_("ready"),
    "failed": N_("failed"),
    "deleting": N_("being deleted"),
}
HOW = {
    "off": N_("machine off"),
    "frozen": N_("while it ran"),
    "crash": N_("as after a power cut"),
}
LOOK = 0.5
"""Seconds between looks whether it is done."""


@click.group("snapshot", cls=Group, help=_("A machine's disk as it was: keep it, return to it."))
def snapshot() -> None:
    pass


@snapshot.command("create", help=_("Keep a machine's disk as it is now; it may run meanwhile."))
@click.argument("machine", type=MACHINE)
@click.argument("name", default="")
@click.option(
    "--crash-consistent", is_flag=True, help=_("Without freezing its file systems: the disk is as after a power cut.")
)
@click.option("--wait/--no-wait", default=True, help=_("Wait until it is there."))
@pass_cli
def create(cli: Cli, machine: str, name: str, crash_consistent: bool, wait: bool) -> None:
    api = cli.api()
    made = api.post(f"/machines/{machine}/snapshots", {"name": name, "crash_consistent": crash_consistent})
    if wait:
        made = until(api, f"/machines/{machine}/snapshots/{made['name']}", "making")
    output.done(cli, made, said(made))


@snapshot.command("list", help=_("A machine's snapshots, the newest first."))
@click.argument("machine", type=MACHINE)
@pass_cli
def list_(cli: Cli, machine: str) -> None:
    columns = (
        (_("NAME"), lambda item: item["name"]),
        (_("MADE"), lambda item: local_time(item["made_at"] or item["created_at"])),
        (_("STATE"), state),
        (_("SIZE"), size),
        (_("HOW"), lambda item: _(HOW[item["how"]])),
    )
    found = cli.api().get(f"/machines/{machine}/snapshots")["items"]
    empty = _("none; keep its disk as it is now: garage machine snapshot create {name}").format(name=machine)
    output.show_list(cli, found, columns, empty=empty)


@snapshot.command("revert", help=_("Return a machine that is off to a snapshot: what came on its disk since is lost."))
@click.argument("machine", type=MACHINE)
@click.argument("name")
@click.option("--yes", "-y", is_flag=True, help=_("Do not ask."))
@click.option("--wait/--no-wait", default=True, help=_("Wait until it is there."))
@pass_cli
def revert(cli: Cli, machine: str, name: str, yes: bool, wait: bool) -> None:
    if not yes:
        question = _("Return {machine} to {name}? What came on its disk since is lost.")
        cli.sure(question.format(machine=machine, name=name))
    api = cli.api()
    found = api.post(f"/machines/{machine}/snapshots/{name}/revert")
    if wait:
        found = until(api, f"/machines/{machine}/snapshots/{name}", "reverting")
    output.done(cli, found, _("{machine} is what it was at {name}; start it: garage machine start {machine}").format(
        machine=machine, name=name
    ))  # fmt: skip


@snapshot.command("delete", help=_("Delete a snapshot; the others stay."))
@click.argument("machine", type=MACHINE)
@click.argument("name")
@click.option("--yes", "-y", is_flag=True, help=_("Do not ask."))
@pass_cli
def delete(cli: Cli, machine: str, name: str, yes: bool) -> None:
    if not yes:
        cli.sure(_("Delete the snapshot {name} of {machine}?").format(name=name, machine=machine))
    found = cli.api().delete(f"/machines/{machine}/snapshots/{name}")
    output.done(cli, found, _("Deleting {name}.").format(name=name))


def until(api: Api, path: str, while_: str) -> Item:
    """Until it is neither being made nor returned to; its own error where that failed."""
    found: Item
    while (found := api.get(path))["state"] == while_ or found.get(while_):
        time.sleep(LOOK)
    if found["error"]:
        raise ClientError({**found["error"], "snapshot": found})
    return found


def said(made: Item) -> str:
    """Of one that was made."""
    return _("{name} ({size})").format(name=made["name"], size=size(made)) if size(made) else made["name"]


def state(item: Item) -> str:
    word = _("being returned to") if item["reverting"] else _(STATES[item["state"]])
    return f"{word}: {item['error']['detail']}" if item["error"] else word


def size(item: Item) -> str:
    taken = item["bytes"]
    if not taken:  # an empty volume's takes nothing
        return "0 MiB" if item["state"] == "ready" else ""
    return f"{taken / (1 << 30):.1f} GiB" if taken >= 1 << 30 else f"{max(1, taken >> 20)} MiB"
