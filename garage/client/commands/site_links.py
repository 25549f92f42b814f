"""`garage site links`, `measure`, `measurements`: the overlay's links and their throughput."""

from __future__ import annotations

import time

import click

from garage.client import output
from garage.client.api import Api
from garage.client.errors import local_error
from garage.client.output import Item, local_time
from garage.client.state import Cli, Command, pass_cli
from garage.client.words import _

STATES = {
    "up": _("up"),
    "down": _("down"),
    "waiting": _("no answer yet"),
    "draining": _("being replaced"),
}
OUTCOMES = {
    "waiting": _("waits for its turn"),
    "running": _("measuring"),
    "done": _("done"),
    "failed": _("failed"),
}
ASK_SECONDS = 0.5
ENDED = ("done", "failed")


@click.command("links", cls=Command, help=_("Links, all or those of a site."))
@click.argument("name", required=False)
@pass_cli
def links(cli: Cli, name: str | None) -> None:
    columns = (
        (_("LINK"), lambda item: item["number"]),
        (_("FROM"), lambda item: f"{item['a_site']} {item['a_node']}"),
        (_("TO"), lambda item: f"{item['b_site']} {item['b_node']}"),
        (_("STATE"), lambda item: STATES.get(item["state"], item["state"])),
        ("RTT ms", lambda item: _figure(item["rtt_ms"])),
        (_("LOSS %"), lambda item: "" if item["loss"] is None else f"{item['loss'] * 100:.1f}"),
        (_("CLASS"), lambda item: "" if item["preference"] is None else item["preference"]),
        ("→ Mb/s", lambda item: _mbit(item["a_to_b_bps"])),
        ("← Mb/s", lambda item: _mbit(item["b_to_a_bps"])),
        (_("MEASURED"), lambda item: local_time(item["measured_at"])),
    )
    found = cli.api().get(f"/sites/{name}/links" if name else "/links")["items"]
    output.show_list(cli, found, columns)


@click.command("measure", cls=Command, help=_("Measure the throughput between two linked sites, both ways."))
@click.argument("name")
@click.argument("peer")
@click.option("--seconds", type=click.IntRange(1, 5), help=_("How long, each way."))
@click.option("--mbit", type=click.IntRange(1, 10_000), help=_("Most Mb/s; less where a line costs by volume."))
@click.option("--no-wait", is_flag=True, help=_("Only order it; “garage site measurements” shows what came of it."))
@pass_cli
def measure(cli: Cli, name: str, peer: str, seconds: int | None, mbit: int | None, no_wait: bool) -> None:
    body = {"peer": peer, "seconds": seconds, "mbit": mbit}
    api = cli.api()
    made = api.post(f"/sites/{name}/measurements", body)
    if no_wait:
        output.done(cli, made, _("Ordered: {name} to {peer}.").format(name=made["site"], peer=made["peer"]))
        return
    found = _follow(api, made, quiet=cli.json)
    if found["state"] == "failed":
        why = {"name": found["site"], "peer": found["peer"], "reason": found["error"]}
        raise local_error("tool_failed", "{name} to {peer} was not measured: {reason}", **why)
    output.done(cli, found, "\n".join(_result(found)))


def _follow(api: Api, made: Item, *, quiet: bool) -> Item:
    """Until it has ended; what it does is said whenever that changes."""
    said = ""
    while made["state"] not in ENDED:
        if made["state"] != said and not quiet:
            click.echo(OUTCOMES[made["state"]], err=True)
        said = made["state"]
        time.sleep(ASK_SECONDS)
        made = api.get(f"/measurements/{made['id']}")
    return made


def _result(item: Item) -> list[str]:
    ways = ((item["site"], item["peer"], "sent"), (item["peer"], item["site"], "received"))
    return [
        _("{name} → {peer}: {mbit} Mb/s, {again} segments sent again").format(
            name=one, peer=other, mbit=_mbit(item[f"{way}_bps"]), again=item[f"{way}_retransmits"]
        )
        for one, other, way in ways
    ]


@click.command("measurements", cls=Command, help=_("What was measured, the newest first."))
@click.argument("name")
@click.argument("peer", required=False)
@pass_cli
def measurements(cli: Cli, name: str, peer: str | None) -> None:
    columns = (
        (_("TIME"), lambda item: local_time(item["asked_at"])),
        (_("FROM"), lambda item: item["site"]),
        (_("TO"), lambda item: item["peer"]),
        (_("LINK"), lambda item: item["link"]),
        (_("STATE"), lambda item: OUTCOMES.get(item["state"], item["state"])),
        ("→ Mb/s", lambda item: _mbit(item["sent_bps"])),
        ("← Mb/s", lambda item: _mbit(item["received_bps"])),
        (_("ASKED BY"), lambda item: item["asked_by"] or _("schedule")),
        (_("DETAIL"), lambda item: item["error"]),
    )
    output.show_list(cli, cli.api().get(f"/sites/{name}/measurements", peer=peer)["items"], columns)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _mbit(bps: float | None) -> str:
    return "" if bps is None else f"{bps / 1e6:.1f}"
