"""`garage admin simulate`: runs on the controller's own server, where the garage's program is installed; asks no controller."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import click

from garage.client import output
from garage.client.errors import local_error
from garage.client.output import Item
from garage.client.state import Cli, Command, pass_cli
from garage.client.words import _

SERVER = "garage-server"


@click.command(
    cls=Command,
    help=_("Try placement policies on a simulated fleet; no server is touched. Runs on the controller's own server."),
)
@click.option("--nodes", type=click.IntRange(1, 5000), default=40, show_default=True, help=_("Servers of the fleet."))
@click.option(
    "--machines",
    type=click.IntRange(1, 50_000),
    default=600,
    show_default=True,
    help=_("Machines that exist on average."),
)
@click.option("--minutes", type=click.IntRange(1, 100_000), default=240, show_default=True, help=_("Simulated time."))
@click.option(
    "--lifetime",
    type=click.IntRange(1, 100_000),
    default=240,
    show_default=True,
    help=_("How many minutes a machine lives."),
)
@click.option(
    "--policy",
    "policies",
    multiple=True,
    type=click.Choice(["spread", "pack"]),
    help=_("May be given several times, to compare."),
)
@click.option("--seed", type=int, default=1, show_default=True, help=_("The same seed draws the same requests."))
@pass_cli
def simulate(
    cli: Cli, nodes: int, machines: int, minutes: int, lifetime: int, policies: tuple[str, ...], seed: int
) -> None:
    figures = {"nodes": nodes, "machines": machines, "minutes": minutes, "lifetime": lifetime, "seed": seed}
    words = [f"--{name}={value}" for name, value in figures.items()] + [f"--policy={policy}" for policy in policies]
    done = subprocess.run([_server(), "simulate", *words], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)
    output.show_list(cli, json.loads(done.stdout)["items"], columns())


def _server() -> str:
    beside = Path(sys.executable).with_name(SERVER)
    found = str(beside) if beside.exists() else shutil.which(SERVER)
    if found is None:
        hint = "run it on the server where the garage runs"
        raise local_error("unavailable", "the garage's own program is not installed here", hint=hint)
    return found


def columns() -> tuple[output.Column, ...]:
    def share(name: str) -> output.Column:
        return _SHARES[name], lambda item: f"{100 * item[name]:.1f} %"

    return (
        (_("POLICY"), lambda item: item["policy"]),
        (_("REQUESTS"), lambda item: item["asked"]),
        (_("REFUSED"), _refused),
        *(share(name) for name in _SHARES),
        (_("TO PLACE, P50 / P95"), lambda item: f"{item['place_ms_p50']:.1f} / {item['place_ms_p95']:.1f} ms"),
    )


_SHARES = {
    "memory": _("MEMORY USED"),
    "vcpus": _("VCPU USED"),
    "fragmented": _("FRAGMENTED"),
    "used_nodes": _("NODES USED"),
}


def _refused(item: Item) -> str:
    return f"{item['refused']} ({100 * item['refused'] / max(1, item['asked']):.1f} %)"
