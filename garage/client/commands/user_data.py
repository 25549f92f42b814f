"""User-data: read from a file, looked at by the controller, and what it says of it."""

from __future__ import annotations

from pathlib import Path

import click

from garage.client.completing import IMAGE
from garage.client.errors import local_error
from garage.client.output import Item, done
from garage.client.state import Cli, Command, pass_cli
from garage.client.words import _

MAX_USER_DATA = 65_536
"""Bytes, the API's own limit."""
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def read(path: Path) -> str:
    text = path.read_bytes()[: MAX_USER_DATA + 1]
    if len(text) > MAX_USER_DATA:
        raise local_error("too_large", "{path} is larger than {limit} bytes", path=str(path), limit=MAX_USER_DATA)
    return text.decode("utf-8", "replace")


def warn(cli: Cli, made: Item) -> None:
    """On standard error, a line for each; programs have them in the JSON."""
    for warning in [] if cli.json else made.get("warnings", []):
        click.echo(_("warning: {detail}").format(detail=warning["detail"]), err=True)


@click.command(cls=Command, help=_("Whether an image's cloud-init takes this user-data; nothing is made."))
@click.argument("file", type=FILE)
@click.option("--image", type=IMAGE, default="debian-12", help=_("What the machine would boot (default: debian-12)."))
@pass_cli
def check_user_data(cli: Cli, file: Path, image: str) -> None:
    told = cli.api().post(f"/images/{image}/user-data", {"user_data": read(file)})
    warn(cli, told)
    done(cli, told, _("{file} is taken").format(file=file))
