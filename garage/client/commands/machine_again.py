"""`garage machine rename`, `tag`, `note`, `rebuild`, `resize`: what is done to a machine that there is."""

from __future__ import annotations

import time

import click

from garage.client import output, progress
from garage.client.api import Api
from garage.client.completing import IMAGE, MACHINE
from garage.client.errors import ClientError
from garage.client.output import Item
from garage.client.state import Cli, Command, pass_cli
from garage.client.words import _

LOOK = 0.3
"""Seconds between looks whether it has grown."""


@click.command(cls=Command, help=_("Give a machine another name; it is reached by that one from now on."))
@click.argument("name", type=MACHINE)
@click.argument("new")
@pass_cli
def rename(cli: Cli, name: str, new: str) -> None:
    found = cli.api().patch(f"/machines/{name}", {"name": new})
    output.done(cli, found, _("{name} is called {new} now").format(name=name, new=output.short(found)))


@click.command(cls=Command, help=_("Put words on a machine, by which “list --tag” finds it."))
@click.argument("name", type=MACHINE)
@click.argument("tags", nargs=-1)
@click.option("--remove", multiple=True, metavar="TAG", help=_("Take this one off."))
@pass_cli
def tag(cli: Cli, name: str, tags: tuple[str, ...], remove: tuple[str, ...]) -> None:
    api = cli.api()
    found = api.get(f"/machines/{name}")
    wanted = (set(found["tags"]) | set(tags)) - set(remove)
    if wanted != set(found["tags"]):
        found = api.patch(f"/machines/{found['id']}", {"tags": sorted(wanted)})
    output.done(cli, found, " ".join(found["tags"]) or _("no tags"))


@click.command(
    cls=Command, help=_("Write something down about a machine, or show what is written; an empty text removes it.")
)
@click.argument("name", type=MACHINE)
@click.argument("text", required=False)
@pass_cli
def note(cli: Cli, name: str, text: str | None) -> None:
    api, path = cli.api(), f"/machines/{name}"
    found = api.get(path) if text is None else api.patch(path, {"notes": text})
    output.done(cli, found, found["notes"] or _("no notes"))


@click.command(
    cls=Command,
    help=_("The same machine on a new disk: what is on the old one is lost; name, addresses, keys and lease stay."),
)
@click.argument("name", type=MACHINE)
@click.option("--image", type=IMAGE, help=_("What it boots then (default: the newest of what it was made of)."))
@click.option("--yes", "-y", is_flag=True, help=_("Do not ask."))
@click.option("--wait/--no-wait", default=True, help=_("Wait until its SSH answers."))
@pass_cli
def rebuild(cli: Cli, name: str, image: str | None, yes: bool, wait: bool) -> None:
    if not yes:
        cli.sure(_("Rebuild {name}? Everything on its disk is lost.").format(name=name))
    api = cli.api()
    found = api.post(f"/machines/{name}/rebuild", {"image": image})
    _until_ready(cli, api, found, wait=wait)


@click.command(
    cls=Command,
    help=_(
        "Another size: a machine that runs grows at once; one that is off has it from its next start on. A disk never shrinks."
    ),
)
@click.argument("name", type=MACHINE)
@click.argument("size")
@click.option("--start", is_flag=True, help=_("Start it then, and wait until its SSH answers."))
@click.option("--wait/--no-wait", default=True, help=_("Wait until a machine that runs has grown."))
@pass_cli
def resize(cli: Cli, name: str, size: str, start: bool, wait: bool) -> None:
    api = cli.api()
    found = api.post(f"/machines/{name}/resize", {"size": size})
    if found["state"] == "ready":
        _grown(cli, api, found, wait=wait)
        return
    if start:
        _until_ready(cli, api, api.post(f"/machines/{name}/start"), wait=True)
        return
    text = _("{name}: {size} ({figures}) from its next start on")
    output.done(cli, found, text.format(name=found["name"], size=found["size"], figures=_figures(found)))


def _grown(cli: Cli, api: Api, found: Item, *, wait: bool) -> None:
    """Until its guest has all, or it is known why not. One that goes off meanwhile has it from its next start on."""
    while wait and found["growing"]:
        time.sleep(LOOK)
        found = api.get(f"/machines/{found['id']}")
    if found["resize_error"]:
        raise ClientError({**found["resize_error"], "machine": found})
    text = _("{name} grows to {size} ({figures})") if found["growing"] else _("{name}: {size} ({figures})")
    output.done(cli, found, text.format(name=found["name"], size=found["size"], figures=_figures(found)))


def _figures(found: Item) -> str:
    return f"{found['vcpus']} vCPU, {output.gib(found['memory_mib'])}, {found['disk_gib']} GiB"


@click.command(
    cls=Command,
    help=_("Give a machine to another of your projects; its addresses stay, its name and who may log in change."),
)
@click.argument("name", type=MACHINE)
@click.argument("project")
@pass_cli
def transfer(cli: Cli, name: str, project: str) -> None:
    found = cli.api().post(f"/machines/{name}/transfer", {"project": project})
    text = _("{name} belongs to {project} now; its name is {fqdn}")
    output.done(cli, found, text.format(name=found["name"], project=found["project"], fqdn=found["fqdn"]))


def _until_ready(cli: Cli, api: Api, found: Item, *, wait: bool) -> None:
    from garage.client.commands.machine import finish

    if wait:
        finish(cli, progress.wait(api, found, ("ready", "failed", "stopped", "lost"), quiet=cli.json), made=False)
    else:
        output.done(cli, found, output.short(found))
