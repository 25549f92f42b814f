"""`garage site`: the registry of the overlay, for its operators."""

from __future__ import annotations

import re
import sys
from typing import Any

import click

from garage.client import output
from garage.client.commands.renumber import renumber
from garage.client.commands.site_links import links, measure, measurements
from garage.client.errors import ClientError
from garage.client.output import Item, local_time
from garage.client.state import Cli, Finite, Group, pass_cli
from garage.client.words import _

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


STATES = {
    "invited": _("invited"),
    "joining": _("joining"),
    "up": _("up"),
    "paused": _("paused"),
    "silent": _("silent"),
    "refusing": _("refuses what it is told"),
    "copied": _("its files are on two servers"),
    "down": _("down"),
    "waiting": _("no answer yet"),
    "draining": _("being replaced"),
    "open": _("open"),
    "used": _("used"),
    "expired": _("expired"),
    "withdrawn": _("withdrawn"),
}
"""Of sites, nodes, links and invitations."""


class Duration(click.ParamType[float]):
    """`90s`, `30m`, `24h`, `7d`, as seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        if found := re.fullmatch(r"([0-9]{1,6})([smhd])", str(value)):
            return float(int(found[1]) * UNITS[found[2]])
        self.fail(_("write it like 90m, 24h or 7d"), param, ctx)


@click.group("site", cls=Group, help=_("Sites of the overlay (admin)."))
def site() -> None:
    pass


for command in (measure, links, measurements, renumber):
    site.add_command(command)


@site.command("invite", help=_("Invite a site; prints the one line to type on its server."))
@click.argument("name")
@click.option("--ttl", type=Duration(), default="24h", show_default=True, help=_("How long the line is good for."))
@click.option("--own-name", help=_("What this site itself shall be called (asked for once, while it is called home)."))
@click.option("--node", is_flag=True, help=_("One more node of a site that is a member."))
@pass_cli
def site_invite(cli: Cli, name: str, ttl: float, own_name: str | None, node: bool) -> None:
    body = {"name": name, "ttl_seconds": ttl, "own_name": own_name, "node": node}
    try:
        made = cli.api().post("/site-invitations", body)
    except ClientError as error:
        if not _asks_for_own_name(error) or not sys.stdin.isatty():
            raise
        click.echo(error.detail, err=True)
        body["own_name"] = click.prompt(_("What shall this site itself be called?"), err=True)
        made = cli.api().post("/site-invitations", body)
    if not made["reachable"]:
        click.echo(
            _("Nobody can join yet: this garage listens on its own server alone. GARAGE_LISTEN=0.0.0.0:8443 make up"),
            err=True,
        )
    if not cli.json:
        until = local_time(made["expires_at"])
        click.echo(_("To type on the server of {name}, once, until {until}:").format(name=name, until=until), err=True)
    output.done(cli, made, made["line"])


def _asks_for_own_name(error: ClientError) -> bool:
    fields = error.problem.get("errors") or []
    return any(field.get("pointer") == "/own_name" for field in fields)


@site.command("list", help=_("Sites and how they are."))
@pass_cli
def site_list(cli: Cli) -> None:
    columns = (
        (_("NAME"), lambda item: item["name"]),
        (_("STATE"), _state),
        ("ASN", lambda item: item["asn"]),
        ("IPV4", lambda item: item["ipv4"]),
        ("IPV6", lambda item: item["ipv6"]),
        (_("LINKS"), lambda item: " ".join(f"{node['links_up']}/{node['links']}" for node in item["nodes"])),
    )
    items = cli.api().get("/sites")["items"]
    output.show_list(cli, items, columns, empty=_("no sites yet: garage site invite NAME"))


def _word(item: Item) -> str:
    return STATES.get(item["state"], "") or str(item["state"])


def _state(item: Item) -> str:
    """In a word, and what an operator has to look into."""
    words = [_word(item)]
    if item["renumber"]:
        words.append(_("must renumber"))
    if item["accusations"]:
        words.append(_("announces what is not its own"))
    return ", ".join(words)


@site.command("show", help=_("One site, its nodes and its links."))
@click.argument("name")
@pass_cli
def site_show(cli: Cli, name: str) -> None:
    item = cli.api().get(f"/sites/{name}")
    item["links"] = cli.api().get(f"/sites/{name}/links")["items"]
    columns = (
        (_("name"), lambda item: item["name"]),
        (_("state"), _state),
        ("ASN", lambda item: item["asn"]),
        ("IPv4", lambda item: item["ipv4"]),
        ("IPv6", lambda item: item["ipv6"]),
        (_("used until now"), _until_now),
        (_("hub"), _hub),
        (_("nodes"), lambda item: "\n".join(_node(node) for node in item["nodes"])),
        (_("links"), lambda item: "\n".join(_link(link, name) for link in item["links"])),
        (_("others say of it"), lambda item: "\n".join(item["accusations"])),
        (_("alarms"), lambda item: "\n".join(item["alarms"])),
        (_("problems"), lambda item: "\n".join(text for node in item["nodes"] for text in _problems(node))),
    )
    output.show_item(cli, item, columns)


def _until_now(item: Item) -> str:
    return f"{item['proposed_ipv4']} {item['proposed_ipv6']}" if item["renumber"] else ""


def _hub(item: Item) -> str:
    """Only what is not usual: most sites are none, and may be one."""
    now = [_("carries other sites' packets")] if item["hub"] else []
    return ", ".join([*now, *([] if item["relay"] else [_("may not be one")])])


def _node(node: Item) -> str:
    addresses = ", ".join([*node["addresses"], *node["outside"]])
    return f"{node['name']}: {_word(node)} {addresses} {local_time(node['reported_at'])}".rstrip()


def _link(link: Item, name: str) -> str:
    """As seen from site `name`."""
    other = "b" if link["a_site"] == name else "a"
    time = "" if link["rtt_ms"] is None else f" {link['rtt_ms']:g} ms"
    return f"{link['number']}: {link[other + '_site']} {link[other + '_node']}: {_word(link)}{time}"


def _problems(node: Item) -> list[str]:
    refusal, problems = node["refusal"], list(node["problems"])
    return ([f"{refusal['code']}: {refusal['text']}"] if refusal else []) + problems


@site.command("remove", help=_("Remove a site; all others drop it at once."))
@click.argument("name")
@pass_cli
def site_remove(cli: Cli, name: str) -> None:
    cli.api().delete(f"/sites/{name}")
    output.done(cli, None, _("Removed {name}.").format(name=name))


@site.command("rotate", help=_("New keys for a site's links, without an interruption."))
@click.argument("name")
@pass_cli
def site_rotate(cli: Cli, name: str) -> None:
    item = cli.api().post(f"/sites/{name}/rotate-keys")
    output.done(cli, item, _("{name} makes new keys; its links change to them one by one.").format(name=name))


@site.command(
    "place",
    context_settings={"ignore_unknown_options": True},
    help=_("Say where a site is, for the map: latitude and longitude in degrees; without them it is forgotten."),
)
@click.argument("name")
@click.argument("latitude", type=Finite(-90, 90), required=False)
@click.argument("longitude", type=Finite(-180, 180), required=False)
@pass_cli
def site_place(cli: Cli, name: str, latitude: float | None, longitude: float | None) -> None:
    if (latitude is None) != (longitude is None):
        raise click.UsageError(_("give both latitude and longitude, or neither"))
    if latitude is None:
        item = cli.api().delete(f"/sites/{name}/place")
    else:
        item = cli.api().put(f"/sites/{name}/place", {"latitude": latitude, "longitude": longitude})
    output.done(cli, item, _("The map follows."))


@site.command(
    "relay", help=_("Say whether a site may be a hub, which carries other sites' packets (at first every one may).")
)
@click.argument("name")
@click.argument("may", type=click.Choice(("on", "off")))
@pass_cli
def site_relay(cli: Cli, name: str, may: str) -> None:
    item = cli.api().put(f"/sites/{name}/relay", {"may": may == "on"})
    output.done(cli, item, _("The overlay's links follow, step by step."))


@site.command("configure", help=_("Set the overlay's figures."))
@click.option("--mesh-sites", type=click.IntRange(2, 50), help=_("Up to so many sites all are linked to all."))
@click.option(
    "--bfd", "bfd_ms", type=click.IntRange(50, 60_000), help=_("Milliseconds; three missed packets end a link.")
)
@click.option(
    "--measure-days", type=click.IntRange(0, 31), help=_("Throughput is measured every so many nights; 0: never.")
)
@click.option("--measure-mbit", type=click.IntRange(1, 10_000), help=_("Most Mb/s of a measurement."))
@click.option("--measure-seconds", type=click.IntRange(1, 5), help=_("Most seconds of a measurement, each way."))
@pass_cli
def site_configure(cli: Cli, /, **body: int | None) -> None:
    cli.api().put("/overlay", {key: value for key, value in body.items() if value is not None})
    output.done(cli, None, _("The overlay follows its new figures."))


@site.command("invitations", help=_("Invitations and what became of them."))
@pass_cli
def site_invitations(cli: Cli) -> None:
    columns = (
        ("ID", lambda item: item["id"]),
        (_("SITE"), lambda item: item["site"]),
        (_("STATE"), lambda item: _word(item)),
        (_("BY"), lambda item: item["created_by"]),
        (_("UNTIL"), lambda item: local_time(item["expires_at"])),
    )
    output.show_list(cli, cli.api().get("/site-invitations")["items"], columns)


@site.command("withdraw", help=_("Withdraw an invitation, by its id or the site's name."))
@click.argument("ref")
@pass_cli
def site_withdraw(cli: Cli, ref: str) -> None:
    item = cli.api().delete(f"/site-invitations/{ref}")
    output.done(cli, item, _("Withdrew the invitation of {name}.").format(name=item["site"]))
