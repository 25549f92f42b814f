"""`garage machine download-disk`: a stopped machine's disk as a file, gone on with where it broke off."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import IO

import click
import httpx

from garage.client import output
from garage.client.api import Api
from garage.client.commands.image import Told, bar
from garage.client.completing import MACHINE
from garage.client.errors import ClientError, local_error
from garage.client.output import Item
from garage.client.state import Cli, Command, pass_cli
from garage.client.words import _

LOOK = 0.5
TRIES = 5
"""A download that breaks off, with nothing new each time, is tried again so often."""
CHUNK = 1 << 20


@click.command(
    "download-disk",
    cls=Command,
    help=_("The disk of a machine that is stopped, also after its lease, as a qcow2 file that stands alone."),
)
@click.argument("name", type=MACHINE)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help=_("Replace FILE if it exists."))
@pass_cli
def download_disk(cli: Cli, name: str, file: Path, force: bool) -> None:
    if file.exists() and not force:
        raise local_error(
            "already_exists", "{file} exists already", hint="take another name, or --force", file=str(file)
        )
    api = cli.api()
    with bar(cli) as told:
        found = _made(api, name, told)
        part = file.with_name(f".{file.name}.{found['sha256'][:12]}.part")
        try:
            _fetched(api, found, part, told)
            part.replace(file)
        except OSError as error:
            reason = error.strerror or str(error)
            raise local_error("config", "{file} cannot be written: {reason}", file=str(file), reason=reason) from None
    text = _("{file}: {size} MiB, its sha256 compared")
    result = {"file": str(file), "bytes": found["bytes"], "sha256": found["sha256"]}
    output.done(cli, result, text.format(file=file, size=-(-found["bytes"] // (1 << 20))))


def _made(api: Api, name: str, told: Told) -> Item:
    """The copy, when it is ready."""
    found: Item = api.post(f"/machines/{name}/disk-copy")
    path = f"/machines/{found['machine']}/disk-copy"
    while found["state"] in ("waiting", "running"):
        told(found["step"] if found["state"] == "running" else "", found["done"], found["total"])
        time.sleep(LOOK)
        found = api.get(path)
    if found["state"] == "failed":
        raise ClientError(found["error"])
    if found["state"] != "ready":
        raise local_error("wrong_state", "{name} was started meanwhile", hint="stop it, and ask again", name=name)
    return found


def _fetched(api: Api, found: Item, part: Path, told: Told) -> None:
    """What an earlier call has left is gone on with; whole and compared in the end."""
    with open(os.open(part, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
        failures, size = 0, found["bytes"]
        while (have := file.seek(0, os.SEEK_END)) < size:
            try:
                api.download_rest(
                    f"/machines/{found['machine']}/disk",
                    file,
                    have,
                    size,
                    lambda done, total: told("download", done, total),
                )
            except httpx.TransportError as error:
                file.flush()
                failures = failures + 1 if file.seek(0, os.SEEK_END) == have else 0
                if failures >= TRIES:
                    raise local_error(
                        "unavailable",
                        "the download broke off: {reason}",
                        hint="try again; it goes on where it ended",
                        reason=str(error),
                    ) from None
                time.sleep(failures)
        if _digest(file, size, told) == found["sha256"]:
            file.flush()
            os.fsync(file.fileno())
            return
    part.unlink()
    raise local_error("unavailable", "what has come is not the file", hint="try again")


def _digest(file: IO[bytes], size: int, told: Told) -> str:
    digest, done = hashlib.sha256(), file.seek(0)
    while data := file.read(CHUNK):
        digest.update(data)
        done += len(data)
        told("check", done, size)
    return digest.hexdigest()
