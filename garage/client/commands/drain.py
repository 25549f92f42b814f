"""`garage node drain`, `activate`, `maintenance`: what an admin says of a server."""

from __future__ import annotations

from collections.abc import Sequence

import click

from garage.client import output
from garage.client.draining import follow, left_over
from garage.client.errors import local_error
from garage.client.output import Item
from garage.client.state import Cli, Command, pass_cli
from garage.client.words import N_, _, state_word

WAYS = {
    "live": N_("moves to {target} while it runs"),
    "cold": N_("moves to {target}, off as it is"),
    "ends": N_("ends"),
    "waits": N_("moves when it is up, or off"),
    "stays": N_("stays"),
}
NODE_STATES = {
    "active": N_("takes machines"),
    "draining": N_("is being emptied"),
    "maintenance": N_("in maintenance"),
}


@click.command(
    "drain", cls=Command, help=_("Empty a server: show what would move where, ask, then move one machine at a time.")
)
@click.argument("node")
@click.option("--yes", "-y", is_flag=True, help=_("Do not ask."))
@click.option("--dry-run", is_flag=True, help=_("Only show what would happen."))
@click.option("--no-wait", is_flag=True, help=_("Do not wait."))
@pass_cli
def drain(cli: Cli, node: str, yes: bool, dry_run: bool, no_wait: bool) -> None:
    api = cli.api()
    plan = api.get(f"/nodes/{node}/drain")
    going = plan["state"] == "draining"
    if dry_run or (cli.json and not yes and not going):
        _show(cli, plan)
        return
    if not cli.json:
        _show(cli, plan)
    if not yes and not going:
        cli.sure(_question(plan))
    begun = api.post(f"/nodes/{node}/drain")
    if no_wait:
        output.done(cli, begun, _("{node} is being emptied").format(node=node))
        return
    _finish(cli, follow(api, begun, quiet=cli.json))


def _question(plan: Item) -> str:
    moving = sum(item["way"] in ("live", "cold", "waits") for item in plan["machines"])
    staying = sum(item["way"] == "stays" for item in plan["machines"])
    text = _("Empty {node}? {moving} machines move, {staying} stay; their owners are told.")
    return text.format(node=plan["node"], moving=moving, staying=staying)


def _show(cli: Cli, plan: Item) -> None:
    if cli.json:
        output.print_json(plan)
        return
    if plan["ours"]:
        click.echo(
            _("So many nodes are silent at once that the fault must be on this side: nothing moves now."), err=True
        )
    output.show_list(
        cli,
        plan["machines"],
        (
            (_("MACHINE"), name),
            (_("OWNER"), lambda item: item["owner"]),
            (_("STATE"), lambda item: state_word(item["state"])),
            (_("WHAT HAPPENS"), way),
            (_("WHY"), lambda item: (item["reason"] or {}).get("detail", "")),
        ),
        empty=_("there is no machine on {node}").format(node=plan["node"]),
    )


def name(item: Item) -> str:
    """NAME.PROJECT; a pool machine has no project."""
    return f"{item['name']}.{item['project']}" if item["project"] else str(item["name"])


def way(item: Item) -> str:
    if item["moving"]:
        return _("moves to {target}: {percent} %").format(target=item["target"], percent=item["percent"])
    return _(WAYS[item["way"]]).format(target=item["target"])


def _finish(cli: Cli, found: Item) -> None:
    """Fails with `in_use` when something still runs there."""
    left: Sequence[Item] = left_over(found)
    if found["state"] == "maintenance":
        output.done(cli, found, _("{node} is empty: nothing runs on it").format(node=found["node"]))
        if left and not cli.json:
            click.echo(_("These are off and have their disks there:"), err=True)
            _show(cli, found)
        return
    if not cli.json:
        _show(cli, found)
    hint = "what was refused is tried again every minute; garage node activate {node} takes the server back"
    error = local_error(
        "in_use", "some machines could not leave {node}: {count}", hint=hint, count=len(left), node=found["node"]
    )
    error.problem["drain"] = found
    raise error


@click.command("activate", cls=Command, help=_("Let a server take machines again."))
@click.argument("node")
@pass_cli
def activate(cli: Cli, node: str) -> None:
    _say(cli, node, "activate")


@click.command("maintenance", cls=Command, help=_("Say that a server on which nothing runs may be switched off."))
@click.argument("node")
@pass_cli
def maintenance(cli: Cli, node: str) -> None:
    _say(cli, node, "maintenance")


def _say(cli: Cli, node: str, what: str) -> None:
    found = cli.api().post(f"/nodes/{node}/{what}")
    output.done(cli, found, f"{found['node']}: {_(NODE_STATES[found['state']])}")
