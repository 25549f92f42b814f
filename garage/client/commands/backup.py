"""`garage admin backup`, `restore`, `adopt`: all rows as a file, back again, and what follows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from garage.client import output
from garage.client.errors import local_error
from garage.client.output import Item, local_time
from garage.client.state import Cli, Command, pass_cli
from garage.client.words import N_, _

KIND = "application/vnd.garage.backup+gzip"
WORDS = {
    "keep": N_("no row: is shut down and kept"),
    "here": N_("is on this node now"),
    "runs": N_("runs, and goes on running"),
    "recover": N_("is started again if its disk is there, else marked lost"),
    "retire": N_("waits for nobody any more: is replaced"),
}
Told = Callable[[int, int], None]


@click.command(
    "backup",
    cls=Command,
    help=_("Everything that this garage's database holds, to FILE. Keep keys/ of the server separately."),
)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help=_("Replace FILE if it exists."))
@pass_cli
def backup(cli: Cli, file: Path, force: bool) -> None:
    if file.exists() and not force:
        raise local_error(
            "already_exists", "{file} exists already", hint="take another name, or --force", file=str(file)
        )
    part = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with (
            open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target,
            _bar(cli, _("Backup")) as told,
        ):
            cli.api().download("/backup", target, told)
            target.flush()
            os.fsync(target.fileno())
        part.rename(file)
    except OSError as error:
        reason = error.strerror or str(error)
        raise local_error("config", "{file} cannot be written: {reason}", file=str(file), reason=reason) from None
    finally:
        part.unlink(missing_ok=True)
    size = file.stat().st_size
    text = _("{file}: {size} KiB. Secrets in it open only with keys/ of this garage's server: keep that folder, too.")
    output.done(cli, {"file": str(file), "bytes": size}, text.format(file=file, size=size // 1024))


@click.command(
    "restore",
    cls=Command,
    help=_("Replace everything that this garage's database holds by FILE; nodes wait for “adopt” then."),
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--yes", "-y", is_flag=True, help=_("Do not ask."))
@pass_cli
def restore(cli: Cli, file: Path, yes: bool) -> None:
    if not yes:
        cli.sure(_("Replace everything by what {file} holds?").format(file=file))
    with file.open("rb") as source, _bar(cli, _("Restore")) as told:
        done = cli.api().upload("/restore", source, file.stat().st_size, KIND, told)
    text = _("Restored: {rows} rows of {when}. Nothing is done on {nodes} nodes until you agree: garage admin adopt")
    words = text.format(rows=done["rows"], when=local_time(done["made_at"]), nodes=done["nodes"])
    if not done["signed_in"]:
        words += "\n" + _("Your token is not in the backup: sign in again with “garage login”.")
    output.done(cli, done, words)


@click.command(
    "adopt", cls=Command, help=_("After a restore: show how nodes differ from the database; with --yes go on.")
)
@click.option("--yes", "-y", is_flag=True, help=_("Do what is shown."))
@pass_cli
def adopt(cli: Cli, yes: bool) -> None:
    api = cli.api()
    plan = api.get("/adoption")
    if not plan["needed"]:
        output.done(cli, plan, _("No node waits to be adopted."))
        return
    if not yes:
        _show(cli, plan)
        return
    done = api.post("/adoption", {"digest": plan["digest"]})
    output.done(cli, done, _("Work goes on at: {nodes}").format(nodes=", ".join(done["nodes"])))


def _show(cli: Cli, plan: Item) -> None:
    if cli.json:
        output.print_json(plan)
        return
    columns = (
        (_("NODE"), lambda item: item["node"]),
        (_("MACHINE"), lambda item: item["name"] or item["id"]),
        (_("DATABASE"), lambda item: item["state"] or "-"),
        (_("NODE SAYS"), lambda item: item["power"] or "-"),
        (_("AFTERWARDS"), lambda item: _(WORDS[item["do"]])),
    )
    output.show_list(cli, plan["steps"], columns, empty=_("Nodes are as the database says."))
    if plan["waiting"]:
        click.echo(_("Not before every node has been looked at: {nodes}").format(nodes=", ".join(plan["waiting"])))
    click.echo(_("Nothing is done until: garage admin adopt --yes"))


@contextmanager
def _bar(cli: Cli, what: str) -> Iterator[Told]:
    """On a terminal alone."""
    import sys

    if cli.json or not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=output.console(stderr=True)) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
