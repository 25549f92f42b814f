"""`garage volume …`: disks that outlive machines."""

from __future__ import annotations

import time
from typing import Any

import click

from garage.client import output
from garage.client.api import Api
from garage.client.commands.volume_snapshot import snapshot
from garage.client.completing import MACHINE, VOLUME
from garage.client.errors import ClientError
from garage.client.output import Item, local_time
from garage.client.state import Cli, Group, pass_cli
from garage.client.words import N_, _

STATES = {
    "making": N_("being made"),
    "available": N_("available"),
    "attaching": N_("being attached"),
    "attached": N_("attached"),
    "detaching": N_("being detached"),
    "reverting": N_("being returned to a snapshot"),
    "deleting": N_("being deleted"),
    "failed": N_("failed"),
}
UNDER_WAY = ("making", "attaching", "detaching", "reverting")
LOOK = 0.3
"""Seconds between looks whether it is done."""
_wait = click.option("--wait/--no-wait", default=True, help=_("Wait until it is done."))


@click.group("volume", cls=Group, help=_("Disks that outlive machines."))
def volume() -> None:
    pass


@volume.command("create", help=_("Make an empty volume; a machine that is named gets it at once."))
@click.argument("name")
@click.option("--size", "gib", type=click.IntRange(1), required=True, metavar="GIB", help=_("How large, in GiB."))
@click.option("--project", help=_("Whose it is (default: your own project)."))
@click.option("--machine", help=_("That gets it; it is made on that machine's server."))
@_wait
@pass_cli
def create(cli: Cli, name: str, gib: int, project: str | None, machine: str | None, wait: bool) -> None:
    api, wanted = cli.api(), {"name": name, "size_gib": gib, "project": project, "machine": machine}
    made = api.post("/volumes", {key: value for key, value in wanted.items() if value})
    _settled(cli, api, made, wait=wait)


@volume.command("list", help=_("Your volumes, the newest first."))
@click.option("--project")
@click.option("--machine", help=_("That this machine has."))
@click.option("--limit", type=click.IntRange(1), help=_("At most so many."))
@pass_cli
def list_(cli: Cli, /, limit: int | None, **asked: str | None) -> None:
    columns = (
        (_("NAME"), _short),
        (_("STATE"), _state),
        (_("SIZE"), _size),
        (_("MACHINE"), lambda item: item["machine"]),
        (_("NODE"), lambda item: item["node"]),
    )
    items = cli.api().every("/volumes", limit, **asked)
    output.show_list(cli, items, columns, empty=_("no volumes yet: garage volume create NAME --size GIB"))


@volume.command("show", help=_("Everything about one volume."))
@click.argument("name", type=VOLUME)
@pass_cli
def show(cli: Cli, name: str) -> None:
    output.show_item(
        cli,
        cli.api().get(f"/volumes/{name}"),
        (
            (_("name"), lambda item: f"{item['name']} ({item['id']})"),
            (_("project, owner"), lambda item: f"{item['project']}, {item['owner']}"),
            (_("state"), _state),
            (_("size"), _size),
            (_("machine"), lambda item: item["machine"]),
            (_("found there at"), lambda item: item["path"] if item["machine"] else None),
            (_("node"), lambda item: item["node"]),
            (_("made"), lambda item: local_time(item["created_at"])),
        ),
    )


@volume.command("attach", help=_("Give a volume to a machine on its server, which may run."))
@click.argument("name", type=VOLUME)
@click.argument("machine", type=MACHINE)
@_wait
@pass_cli
def attach(cli: Cli, name: str, machine: str, wait: bool) -> None:
    api = cli.api()
    _settled(cli, api, api.post(f"/volumes/{name}/attach", {"machine": machine}), wait=wait)


@volume.command("detach", help=_("Take a volume from its machine; unmount it there first, or stop the machine."))
@click.argument("name", type=VOLUME)
@_wait
@pass_cli
def detach(cli: Cli, name: str, wait: bool) -> None:
    api = cli.api()
    _settled(cli, api, api.post(f"/volumes/{name}/detach"), wait=wait)


@volume.command("grow", help=_("Make a volume larger, also while a machine uses it; it never shrinks."))
@click.argument("name", type=VOLUME)
@click.argument("gib", type=click.IntRange(1))
@_wait
@pass_cli
def grow(cli: Cli, name: str, gib: int, wait: bool) -> None:
    api = cli.api()
    _settled(cli, api, api.post(f"/volumes/{name}/grow", {"size_gib": gib}), wait=wait)


@volume.command("delete", help=_("Delete a volume that no machine has, with all that is on it."))
@click.argument("name", type=VOLUME)
@click.option("--yes", "-y", is_flag=True, help=_("Do not ask."))
@pass_cli
def delete(cli: Cli, name: str, yes: bool) -> None:
    if not yes:
        cli.sure(_("Delete {name} and all that is on it?").format(name=name))
    found = cli.api().delete(f"/volumes/{name}")
    output.done(cli, found, _("Deleting {name}.").format(name=name))


def _settled(cli: Cli, api: Api, found: Item, *, wait: bool) -> None:
    """Until nothing is being done with it; its own error where that failed."""
    while wait and _goes_on(found):
        time.sleep(LOOK)
        found = api.get(f"/volumes/{found['id']}")
    if found["error"]:
        raise ClientError({**found["error"], "volume": found})
    output.done(cli, found, _said(found))


def _goes_on(found: Item) -> bool:
    """What a guest does not let go of is asked for again for ever, and nobody waits for that."""
    grows = found["state"] in ("available", "attached") and found["made_gib"] < found["size_gib"]
    return (found["state"] in UNDER_WAY or grows) and not found["error"]


def _said(found: Item) -> str:
    values: dict[str, Any] = {**found, "name": found["name"], "state": _(STATES[found["state"]])}
    if found["state"] == "attached":
        return _("{name} ({size_gib} GiB): {machine} has it at {path}").format(**values)
    return _("{name} ({size_gib} GiB): {state}").format(**values)


def _short(item: Item) -> str:
    return f"{item['name']}.{item['project']}"


def _state(item: Item) -> str:
    state = _(STATES[item["state"]])
    return f"{state}: {item['error']['detail']}" if item["error"] else state


def _size(item: Item) -> str:
    if item["made_gib"] and item["made_gib"] < item["size_gib"]:
        return _("{made_gib} of {size_gib} GiB").format(**item)
    return f"{item['size_gib']} GiB"


volume.add_command(snapshot)
