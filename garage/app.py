"""The controller's composition root: chooses implementations, and is the `garage-server` command of set-up and service units."""

from __future__ import annotations

import gc
import json
import logging
import os
import random
import signal
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from garage import config as configuration
from garage import tracing
from garage.config import POLICIES, Config
from garage.db.migrate import migrate
from garage.db.session import Database
from garage.errors import N_, GarageError, fill
from garage.services.context import Caller, Context
from garage.services.vault import Vault
from garage.shell.outward import outward

BY_HAND = Caller("", "garage-server", admin=True)
"""Whoever is root on the server."""


def make_context(config: Config) -> Context:
    """The real thing: system clock, system randomness, keys from `$GARAGE_HOME/keys`."""
    keys, config = config.home / "keys", replace(config, outward=outward())
    try:
        vault = Vault((keys / "secret.key").read_bytes().strip())
        signer = load_pem_private_key((keys / "controller.key").read_bytes(), password=None)
    except OSError as error:
        raise GarageError(
            "config", N_("{path} cannot be read"), hint=N_("run “make up” first"), path=str(error.filename)
        ) from None
    return Context(Database(config.sqlalchemy_url), config, time.time, random.SystemRandom(), vault, signer)  # type: ignore[arg-type]


def make_web(ctx: Context) -> Any:
    """The whole ASGI app: gateway, API and pages."""
    import web
    from garage.api.app import make_flask
    from garage.core.shipped import shipped
    from garage.gateway.app import make_asgi
    from garage.shell import recipes
    from garage.shell.openid import HttpProvider
    from garage.shell.strangers import SshStrangers
    from web.i18n import translate_error

    ctx = replace(ctx, recipes=shipped(recipes.texts()))
    flask_app = make_flask(ctx, translate=translate_error, strangers=SshStrangers())
    settings = ctx.config.openid
    provider = HttpProvider(settings, ctx.config.openid_secret) if settings else None
    web.register(flask_app, ctx, provider=provider)
    return make_asgi(ctx, flask_app)


@click.group()
def main() -> None:
    """Run and administer the garage's own processes. People use `garage`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(tracing.Stamp())
    shape = "%(asctime)s %(levelname)s %(name)s %(request)s%(message)s"
    logging.basicConfig(level=logging.INFO, handlers=[handler], format=shape)


@main.command("init")
@click.option("--admin", default="admin", show_default=True, help="Name of the first admin.")
@click.option("--listen", default=None, help="ADDRESS:PORT of the web process.")
def init_command(admin: str, listen: str | None) -> None:
    """Make what is missing of a garage: settings, keys, tables, admin, netd's files. Safe to repeat."""
    from garage.bootstrap import initialise

    _emit(initialise(os.environ, admin=admin, listen=listen))


@main.command("migrate")
def migrate_command() -> None:
    """Bring the database to this version."""
    before, after = migrate(Database(configuration.load().sqlalchemy_url))
    _emit({"before": before, "after": after})


@main.command("web")
def web_command() -> None:
    """Serve API, pages and streams."""
    from garage.gateway.serve import serve
    from garage.services.limiting import follow_settings

    config = configuration.load()
    ctx = make_context(config)
    follow_settings(ctx)
    asgi_app = make_web(ctx)
    _keep_what_is_loaded()
    serve(ctx, asgi_app, config)


def _keep_what_is_loaded() -> None:
    """Modules, schemas and routes live as long as the process: a collection that walked them, too, held all requests up for 0.1 s."""
    gc.collect()
    gc.freeze()


@main.command("worker")
def worker_command() -> None:
    """Make machines what they should be."""
    from garage.worker.adding import Adder
    from garage.worker.importing import Importer
    from garage.worker.main import run
    from garage.worker.postman import Postman

    config = configuration.load()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    ctx = make_context(config)
    Adder(ctx, config).start(stop)
    Importer(ctx, config).start(stop)
    Postman(ctx, config, _in_words).start(stop)
    run(ctx, config, stop)


def _in_words(error: dict[str, Any], locale: str) -> str:
    """An error for people. The pages' catalogue is loaded by a worker that has to tell one, and by no other."""
    from web.i18n import sentence

    return sentence(error, locale)


@main.command("park")
@click.option("--seconds", default=60.0, show_default=True, help="How long guests may take to shut down.")
def park_command(seconds: float) -> None:
    """Shut all machines down so that they start again with the garage (the worker must be stopped)."""
    from garage.worker.backends import open_hypervisor
    from garage.worker.park import park

    config = configuration.load()
    _emit({"parked": park(make_context(config), open_hypervisor(config.hypervisor, config), seconds)})


@main.command("build-image")
@click.argument("recipe", type=click.Path(exists=True, path_type=Path))
def build_image_command(recipe: Path) -> None:
    """Build the image of a recipe file, unless it stands already, and register it. Progress on stderr, one JSON line on stdout."""
    from garage.bootstrap import build_image

    config = configuration.load()
    _emit(build_image(make_context(config), recipe, os.environ, _progress))


@main.command("burn-in")
@click.option("--minutes", default=5.0, show_default=True, help="How long; each fault comes at least once.")
@click.option("--seed", default=None, type=int, help="Draws the faults; by default another one each time.")
@click.option("--nodes", default=4, show_default=True, type=click.IntRange(1, 200), help="Simulated nodes.")
def burn_in_command(minutes: float, seed: int | None, nodes: int) -> None:
    """Break a garage made for it, at random, and examine it after each fault. Touches no other garage. Exit code 1: something is wrong."""
    from garage.burnin.run import burn_in
    from garage.burnin.trial import Trial

    drawn = random.SystemRandom().randrange(1 << 31) if seed is None else seed
    logging.getLogger().setLevel(logging.WARNING)
    click.echo(f"seed {drawn}", err=True)
    with Trial(nodes=nodes) as trial:
        found = burn_in(trial, minutes=minutes, seed=drawn, tell=lambda text: click.echo(text, err=True))
    _emit({"seed": drawn, **found})
    sys.exit(1 if found["troubles"] else 0)


@main.command("link")
@click.argument("name", default="admin")
def link_command(name: str) -> None:
    """A one-time link by which a user sets a new password (run on the server itself)."""
    from garage.services import accounts

    ctx = make_context(configuration.load())
    token = accounts.reset_link(ctx, BY_HAND, name)
    _emit({"link": f"{ctx.config.outside}/welcome/{token}"})


@main.command("reset-factor")
@click.argument("name", default="admin")
def reset_factor_command(name: str) -> None:
    """Take the second factor of somebody who has lost phone and recovery codes (run on the server itself)."""
    from garage.services import second_factor

    second_factor.reset(make_context(configuration.load()), BY_HAND, name)
    _emit({"reset": name})


@main.command("simulate")
@click.option(
    "--nodes", type=click.IntRange(1, 5000), default=40, show_default=True, help="Servers of the simulated fleet."
)
@click.option(
    "--machines", type=click.IntRange(1, 50_000), default=600, show_default=True, help="That exist on average."
)
@click.option("--minutes", type=click.IntRange(1, 100_000), default=240, show_default=True, help="Simulated time.")
@click.option(
    "--lifetime", type=click.IntRange(1, 100_000), default=240, show_default=True, help="Mean minutes of a machine."
)
@click.option(
    "--policy", "policies", type=click.Choice(POLICIES), multiple=True, help="Several are run one after another."
)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed draws the same requests.")
def simulate_command(
    nodes: int, machines: int, minutes: int, lifetime: int, policies: tuple[str, ...], seed: int
) -> None:
    """Try placement policies on a simulated fleet, in a database that is thrown away; no server is touched."""
    from garage.core.arrivals import Load
    from garage.simulation import simulate

    logging.getLogger("alembic").setLevel(logging.WARNING)
    config, load = configuration.load(), Load(machines, minutes, lifetime)
    found = []
    for policy in policies or (config.placement_policy,):
        told = [-1]

        def tell(done: float, what: str, policy: str = policy, told: list[int] = told) -> None:
            if (tenth := int(10 * done)) != told[0]:
                told[0] = tenth
                _progress(f"{policy}: {what}", done)

        found.append(simulate(replace(config, placement_policy=policy), nodes, load, seed, tell))
    _emit({"items": found})


@main.command("backup")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def backup_command(file: Path) -> None:
    """Everything that the database holds, to a new FILE (mode 0600); as `garage admin backup`, without the web process."""
    from garage.services import backups

    part = file.with_name(f".{file.name}.{os.getpid()}")
    if file.exists():
        raise GarageError("already_exists", N_("{file} exists already"), hint=N_("take another name"), file=str(file))
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
            rows = backups.backup(make_context(configuration.load()), BY_HAND, target)
            target.flush()
            os.fsync(target.fileno())
        part.rename(file)
    finally:
        part.unlink(missing_ok=True)
    _emit({"file": str(file), "rows": rows})


@main.command("restore")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def restore_command(file: Path) -> None:
    """Replace everything that the database holds by FILE; as `garage admin restore`, without the web process."""
    from garage.services import backups

    _emit(asdict(backups.restore(make_context(configuration.load()), BY_HAND, file)))


def _progress(step: str, fraction: float) -> None:
    click.echo(f"{fraction * 100:3.0f}% {step}", err=True)


def _emit(value: dict[str, Any]) -> None:
    click.echo(json.dumps(value, default=str))


def entry() -> None:
    """`main` with our errors told as one line and their exit code."""
    try:
        main(standalone_mode=False)
    except GarageError as error:
        click.echo(f"garage-server: {error.message}", err=True)
        if error.hint:
            click.echo(f"hint: {fill(error.hint, error.params)}", err=True)
        sys.exit(error.kind.exit)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)


if __name__ == "__main__":
    entry()
