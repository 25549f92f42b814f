"""`garage user grant`, `revoke`: auditors, and operators of sites."""

from __future__ import annotations

from urllib.parse import urlencode

import click

from garage.client import output
from garage.client.output import Item
from garage.client.state import Cli, Command, pass_cli
from garage.client.words import N_, _

ROLES = {"auditor": N_("auditor"), "operator": N_("operator")}
SITE = _("An operator's; this garage's own by default.")


@click.command("grant", cls=Command, help=_("Make a user an auditor, or an operator of a site."))
@click.argument("name")
@click.argument("role", type=click.Choice(list(ROLES)))
@click.option("--site", help=SITE)
@pass_cli
def grant(cli: Cli, name: str, role: str, site: str | None) -> None:
    _done(cli, cli.api().post(f"/users/{name}/grants", {"role": role} | ({"site": site} if site else {})))


@click.command("revoke", cls=Command, help=_("Take such a role; it ends at once."))
@click.argument("name")
@click.argument("role", type=click.Choice(list(ROLES)))
@click.option("--site", help=SITE)
@pass_cli
def revoke(cli: Cli, name: str, role: str, site: str | None) -> None:
    query = f"?{urlencode({'site': site})}" if site else ""
    _done(cli, cli.api().delete(f"/users/{name}/grants/{role}{query}"))


def _done(cli: Cli, item: Item) -> None:
    output.done(cli, item, _("{name} is: {roles}.").format(name=item["name"], roles=told(item)))


def told(item: Item) -> str:
    """All roles of a user, e.g. "member, operator of home"."""
    return ", ".join((_(item["role"]), *(_one(each) for each in item.get("grants", ()))))


def _one(grant: Item) -> str:
    role = _(ROLES[grant["role"]])
    return _("{role} of {site}").format(role=role, site=grant["site"]) if grant["site"] else role
