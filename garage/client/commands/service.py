"""`garage project service`: accounts of programs; `garage session`: browsers that are signed in."""

from __future__ import annotations

import click

from garage.client import output
from garage.client.output import Item, local_time
from garage.client.state import DAYS, Cli, Group, pass_cli
from garage.client.words import _

SCOPE = click.Choice(["all", "project", "machines", "read"])


@click.group("service", cls=Group, help=_("Accounts of programs: members of one project, with API tokens alone."))
def service() -> None:
    pass


@service.command("list", help=_("A project's service accounts with their tokens."))
@click.argument("project")
@pass_cli
def service_list(cli: Cli, project: str) -> None:
    columns = (
        (_("NAME"), lambda item: item["name"]),
        (_("SINCE"), lambda item: local_time(item["created_at"])),
        (_("TOKENS"), _tokens),
    )
    found = cli.api().get(f"/projects/{project}/service-accounts")["items"]
    output.show_list(cli, found, columns)


def _tokens(item: Item) -> str:
    return ", ".join(f"{token['name']} ({token['scope']}, {token['id']})" for token in item["tokens"])


@service.command("add", help=_("Make a service account (owner)."))
@click.argument("project")
@click.argument("name")
@pass_cli
def service_add(cli: Cli, project: str, name: str) -> None:
    item = cli.api().post(f"/projects/{project}/service-accounts", {"name": name})
    output.done(
        cli, item, _("Made {name}. Its token: garage project service token").format(name=name) + f" {project} {name}"
    )


@service.command("remove", help=_("End a service account with its tokens and keys (owner)."))
@click.argument("project")
@click.argument("name")
@click.option("--yes", "-y", is_flag=True, help=_("Do not ask."))
@pass_cli
def service_remove(cli: Cli, project: str, name: str, yes: bool) -> None:
    if not yes:
        cli.sure(_("End the service account {name} with its tokens and keys?").format(name=name))
    cli.api().delete(f"/projects/{project}/service-accounts/{name}")
    output.done(cli, None, _("Removed {name}.").format(name=name))


@service.command("token", help=_("Make a token for it; it is shown this once, on standard output (owner)."))
@click.argument("project")
@click.argument("name")
@click.option("--name", "token", default="token", show_default=True, help=_("What to call it."))
@click.option("--days", type=DAYS, help=_("How long it lives (default: until it is deleted)."))
@click.option("--scope", type=SCOPE, default="machines", show_default=True, help=_("What it may do."))
@pass_cli
def service_token(cli: Cli, project: str, name: str, token: str, days: float | None, scope: str) -> None:
    body = {"name": token, "days": days, "scope": scope}
    item = cli.api().post(f"/projects/{project}/service-accounts/{name}/tokens", body)
    output.done(cli, item, item["token"])


@service.command("revoke", help=_("Revoke one of its tokens by its id (owner)."))
@click.argument("project")
@click.argument("name")
@click.argument("token_id")
@pass_cli
def service_revoke(cli: Cli, project: str, name: str, token_id: str) -> None:
    cli.api().delete(f"/projects/{project}/service-accounts/{name}/tokens/{token_id}")
    output.done(cli, None, _("Revoked {name}.").format(name=token_id))


@click.group("session", cls=Group, help=_("Browsers in which you are signed in."))
def session() -> None:
    pass


@session.command("list", help=_("Where you are signed in, the newest first."))
@pass_cli
def session_list(cli: Cli) -> None:
    columns = (
        ("ID", lambda item: item["id"]),
        (_("SINCE"), lambda item: local_time(item["created_at"])),
        (_("UNTIL"), lambda item: local_time(item["expires_at"])),
        (_("FROM"), lambda item: item["address"]),
        (_("HOW"), lambda item: {"openid": "OpenID Connect"}.get(item.get("method", ""), _("password"))),
        (_("BROWSER"), lambda item: item["agent"]),
    )
    output.show_list(cli, cli.api().get("/sessions")["items"], columns)


@session.command("end", help=_("Sign a browser out by its id, or all of them."))
@click.argument("session_id", required=False)
@click.option("--all", "every", is_flag=True, help=_("All of them."))
@pass_cli
def session_end(cli: Cli, session_id: str | None, every: bool) -> None:
    if every == bool(session_id):
        raise click.UsageError(_("name a session, or --all"))
    cli.api().delete("/sessions" if every else f"/sessions/{session_id}")
    output.done(cli, None, _("Signed out."))
