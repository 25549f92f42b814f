"""`garage site renumber`: look at what taking the registry's prefixes changes, then do it."""

from __future__ import annotations

import click

from garage.client import output
from garage.client.output import Item
from garage.client.state import Cli, Command, pass_cli
from garage.client.words import _


@click.command(
    "renumber", cls=Command, help=_("Take the prefixes that the registry gave this site; shows first what changes.")
)
@click.option("--plan", "only_plan", is_flag=True, help=_("Only show it."))
@click.option("--yes", "-y", is_flag=True, help=_("Do not ask."))
@pass_cli
def renumber(cli: Cli, only_plan: bool, yes: bool) -> None:
    api = cli.api()
    plan = api.get("/renumbering")
    if only_plan or not plan["needed"]:
        _show(cli, plan)
        return
    if not yes:
        _print(cli, plan)
        cli.sure(_("Renumber this site now?"))
    done = api.post("/renumbering", {"digest": plan["digest"]})
    text = _("This site is {ipv4} {ipv6} now; machines that restart: {count}")
    restarting = sum(machine["restarts"] for machine in done["machines"])
    output.done(cli, done, text.format(ipv4=done["ipv4"], ipv6=done["ipv6"], count=restarting))


def _show(cli: Cli, plan: Item) -> None:
    if cli.json:
        output.print_json(plan)
    elif not plan["needed"]:
        text = _("This site has the prefixes that its registry gave it, {ipv4} {ipv6}: nothing to do.")
        click.echo(text.format(ipv4=plan["ipv4"], ipv6=plan["ipv6"]))
    else:
        _print(cli, plan)


def _print(cli: Cli, plan: Item) -> None:
    """For the one who decides; JSON is for programs, which decide by themselves."""
    text = _("Prefixes: {before} become {after}")
    before, after = f"{plan['ipv4_before']} {plan['ipv6_before']}", f"{plan['ipv4']} {plan['ipv6']}"
    click.echo(text.format(before=before, after=after), err=cli.json)
    if cli.json:
        return
    columns = (
        (_("NAME"), lambda item: f"{item['name']}.{item['project']}"),
        (_("NOW"), lambda item: f"{item['ipv4_before']} {item['ipv6_before']}"),
        (_("THEN"), lambda item: f"{item['ipv4']} {item['ipv6']}"),
        ("", lambda item: _("restarts") if item["restarts"] else ""),
    )
    output.show_list(cli, plan["machines"], columns, empty=_("No machine is affected."))
