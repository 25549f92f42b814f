"""`garage image`: what machines boot; bringing, building, sharing and deleting it."""

from __future__ import annotations

import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import httpx

from garage.client import output
from garage.client.api import Api
from garage.client.completing import IMAGE, MACHINE, Named
from garage.client.errors import ClientError, local_error
from garage.client.output import Item, local_time
from garage.client.state import Cli, Group, pass_cli
from garage.client.words import N_, _

LOOK = 0.5
"""Seconds between looks at how far it is."""
TRIES = 5
"""An upload that breaks off is gone on with so many times."""
STEPS: dict[str, str] = {
    "": N_("waiting for a worker"),
    "upload": N_("uploading"),
    "fetch": N_("fetching"),
    "check": N_("comparing its sha256"),
    "unpack": N_("decompressing"),
    "convert": N_("converting"),
    "copy": N_("copying its disk"),
    "download": N_("downloading"),
    "strip": N_("taking its identity off"),
    "packages": N_("installing packages"),
    "disk": N_("making the disk"),
    "checksums": N_("checksums"),
}
PEOPLE = {"own": N_("oneself"), "project": N_("project"), "all": N_("all")}
STATES = {
    "uploading": N_("waits for its file"),
    "waiting": N_("waiting for a worker"),
    "running": N_("on its way"),
    "failed": N_("did not come"),
    "done": N_("is here"),
}
Told = Callable[[str, int, int], None]
"""(step, done, of all or 0)."""
FOR = click.Choice(["own", "project", "all"])


@click.group("image", cls=Group, help=_("What machines boot."))
def image() -> None:
    pass


@image.command("list", help=_("Images that you may use, the current ones first."))
@pass_cli
def image_list(cli: Cli) -> None:
    columns = (
        (_("NAME"), lambda item: item["name"]),
        (_("CURRENT"), lambda item: _("damaged") if item["damaged"] else _("yes") if item["current"] else ""),
        (_("FOR"), _people),
        (_("OWNER"), lambda item: item["owner"]),
        (_("DISK"), lambda item: f"{item['virtual_bytes'] / (1 << 30):.1f} GiB" if item["virtual_bytes"] else ""),
        (_("MACHINES"), lambda item: item["machines"]),
        (_("BUILT"), lambda item: local_time(item["created_at"])),
        ("SHA256", lambda item: item["sha256"][:16]),
    )
    output.show_list(cli, cli.api().every("/images"), columns, empty=_("no images yet: run “make up” on the server"))


def _people(item: Item) -> str:
    return str(item["project"] or _(PEOPLE[item["visibility"]]))


@image.command("import", help=_("Bring an image: a file here, or an http(s) address that the controller fetches."))
@click.argument("name")
@click.argument("source", metavar="FILE|URL")
@click.option("--sha256", required=True, metavar="HEX", help=_("Of the file as it comes, from its publisher's list."))
@click.option(
    "--format", "kind", type=click.Choice(["qcow2", "raw"]), help=_("Of the disk; by default by the file's name.")
)
@click.option(
    "--boot",
    type=click.Choice(["bios", "uefi"]),
    default="bios",
    show_default=True,
    help=_("How its own loader is started."),
)
@click.option("--for", "visibility", type=FOR, default="own", show_default=True, help=_("Who may use it."))
@click.option("--project", help=_("Whose members may use it, with --for project."))
@click.option("--wait/--no-wait", default=True, help=_("Show how far it is, until it has ended."))
@pass_cli
def image_import(
    cli: Cli,
    name: str,
    source: str,
    sha256: str,
    kind: str | None,
    boot: str,
    visibility: str,
    project: str | None,
    wait: bool,
) -> None:
    body = {
        "name": name,
        "sha256": sha256,
        "format": kind or _format(source),
        "boot": boot,
        "visibility": visibility,
        "project": project,
    }
    api = cli.api()
    with bar(cli) as told:
        remote = "://" in source
        task = api.post("/image-imports", body | {"url": source}) if remote else _upload(api, body, Path(source), told)
        if wait:
            task = _watched(api, task, told)
    output.done(cli, task, _ended(task))


def _format(source: str) -> str:
    """debian.raw.xz → raw; what says nothing is qcow2, like most cloud images."""
    words = source.rpartition("/")[2].partition("?")[0].lower().split(".")
    return "raw" if "raw" in words else "qcow2"


def _upload(api: Api, body: Item, path: Path, told: Told) -> Item:
    """A line that breaks is taken up again where it broke."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise local_error(
            "not_found", "{file} cannot be read: {reason}", file=str(path), reason=error.strerror or str(error)
        ) from None
    with file:
        size, offset = path.stat().st_size, 0
        task = api.post("/image-imports", body | {"bytes": size})
        for attempt in range(TRIES):
            try:
                api.put_file(
                    f"/image-tasks/{task['id']}/file",
                    file,
                    offset,
                    size,
                    lambda done, total: told("upload", done, total),
                )
                break
            except httpx.TransportError as error:
                if attempt == TRIES - 1:
                    hint = "try again; what has come so far is forgotten after a day"
                    raise local_error(
                        "unavailable", "the upload broke off: {reason}", hint=hint, reason=str(error)
                    ) from None
                time.sleep(1.0 + attempt)
                offset = int(api.get(f"/image-tasks/{task['id']}")["done"])
        found: Item = api.get(f"/image-tasks/{task['id']}")
        return found


@image.command("recipes", help=_("Recipes that ship with the garage."))
@pass_cli
def image_recipes(cli: Cli) -> None:
    columns = ((_("NAME"), lambda item: item["name"]), (_("TITLE"), lambda item: item["title"]))
    output.show_list(cli, cli.api().get("/recipes")["items"], columns)


@image.command("build", help=_("Build the image of a recipe that ships, or of a recipe file, for all (admin)."))
@click.argument("recipe", metavar="NAME|FILE", type=Named("recipes"))
@click.option("--wait/--no-wait", default=True, help=_("Show how far it is, until it has ended."))
@pass_cli
def image_build(cli: Cli, recipe: str, wait: bool) -> None:
    api = cli.api()
    task = api.post("/image-builds", _recipe(recipe))
    if wait:
        with bar(cli) as told:
            task = _watched(api, task, told)
    output.done(cli, task, _ended(task))


def _recipe(given: str) -> dict[str, Any]:
    """A name has neither "/" nor "."."""
    if not {"/", "."} & set(given):
        return {"name": given}
    path = Path(given)
    try:
        text = path.read_text("utf-8", "replace")
    except OSError as error:
        hint = "“garage image recipes” shows those that ship"
        raise local_error(
            "not_found", "{file} cannot be read: {reason}", hint=hint, file=given, reason=error.strerror or str(error)
        ) from None
    return {"recipe": text, "base": _base(path, text)}


@image.command(
    "save", help=_("Make an image of a machine that is stopped, without anything by which it or its people are known.")
)
@click.argument("machine", type=MACHINE)
@click.argument("name")
@click.option("--snapshot", metavar="SNAPSHOT", help=_("Of this one of its snapshots; then it need not be stopped."))
@click.option("--for", "visibility", type=FOR, default="own", show_default=True, help=_("Who may use it."))
@click.option("--project", help=_("Whose members may use it, with --for project; by default the machine's."))
@click.option("--wait/--no-wait", default=True, help=_("Show how far it is, until it has ended."))
@pass_cli
def image_save(
    cli: Cli, machine: str, name: str, snapshot: str | None, visibility: str, project: str | None, wait: bool
) -> None:
    api = cli.api()
    body = {"machine": machine, "name": name, "snapshot": snapshot, "visibility": visibility, "project": project}
    task = api.post("/image-saves", body)
    if wait:
        with bar(cli) as told:
            task = _watched(api, task, told)
    output.done(cli, task, _ended(task))


def _base(recipe: Path, text: str) -> str | None:
    """The recipe on which it is laid: its file is beside it. What is wrong with the text is the controller's to say."""
    try:
        name = tomllib.loads(text).get("base", "")
        return recipe.with_name(f"{name}.toml").read_text("utf-8", "replace") if name else None
    except (tomllib.TOMLDecodeError, OSError, ValueError):
        return None


def _watched(api: Api, task: Item, told: Told) -> Item:
    """The task at its end; raises its error."""
    while task["state"] in ("uploading", "waiting", "running"):
        told(task["step"] if task["state"] == "running" else "", task["done"], task["total"])
        time.sleep(LOOK)
        task = api.get(f"/image-tasks/{task['id']}")
    if task["state"] == "failed":
        raise ClientError(task["error"])
    return task


def _ended(task: Item) -> str:
    if task["state"] == "done":
        return f"garage machine create --image {task['name']}"
    return _("{name} is on its way: garage image tasks").format(name=task["name"])


@contextmanager
def bar(cli: Cli) -> Iterator[Told]:
    """A bar on a terminal, a line per step elsewhere, nothing for programs."""
    if cli.json:
        yield lambda _step, _done, _total: None
        return
    if not sys.stderr.isatty():
        yield _lines()
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=output.console(stderr=True)) as progress:
        line = progress.add_task("", total=None)
        yield lambda step, done, total: progress.update(
            line, description=_(STEPS.get(step, step)), completed=done, total=total or None
        )


def _lines() -> Told:
    seen = ""

    def show(step: str, _done: int, _total: int) -> None:
        nonlocal seen
        word = _(STEPS.get(step, step))
        if word != seen:
            click.echo(word, err=True)
            seen = word

    return show


@image.command("tasks", help=_("Images on their way, and why one did not come."))
@pass_cli
def image_tasks(cli: Cli) -> None:
    columns = (
        (_("NAME"), lambda item: item["name"]),
        (_("STATE"), lambda item: _(STATES[item["state"]])),
        (_("STEP"), _step),
        (_("OWNER"), lambda item: item["owner"]),
        (_("SINCE"), lambda item: local_time(item["asked_at"])),
        (_("ERROR"), lambda item: item["error"]["detail"] if item["error"] else ""),
    )
    output.show_list(cli, cli.api().get("/image-tasks")["items"], columns)


def _step(item: Item) -> str:
    if item["state"] not in ("uploading", "running"):
        return ""
    step = "upload" if item["state"] == "uploading" else item["step"]
    percent = f" {100 * item['done'] // item['total']} %" if item["total"] else ""
    return _(STEPS.get(step, step)) + percent


@image.command("cancel", help=_("Call an image off that is on its way, or forget one that did not come."))
@click.argument("name")
@pass_cli
def image_cancel(cli: Cli, name: str) -> None:
    cli.api().delete(f"/image-tasks/{name}")
    output.done(cli, None, _("{name} is not wanted any more").format(name=name))


@image.command("share", help=_("Say who may use an image of yours."))
@click.argument("name", type=IMAGE)
@click.option("--for", "visibility", type=FOR, required=True, help=_("Who may use it."))
@click.option("--project", help=_("Whose members may use it, with --for project."))
@pass_cli
def image_share(cli: Cli, name: str, visibility: str, project: str | None) -> None:
    body: dict[str, Any] = {"visibility": visibility, "project": project}
    found = cli.api().put(f"/images/{name}/visibility", body)
    output.done(cli, found, f"{found['name']}: {_people(found)}")


@image.command("delete", help=_("Delete an image of yours that no machine is made of, by name or sha256."))
@click.argument("name", type=IMAGE)
@click.option("--yes", is_flag=True, help=_("Do not ask."))
@pass_cli
def image_delete(cli: Cli, name: str, yes: bool) -> None:
    if not yes:
        cli.sure(_("Delete the image {name}?").format(name=name))
    cli.api().delete(f"/images/{name}")
    output.done(cli, None, _("{name} is deleted").format(name=name))
