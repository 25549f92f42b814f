"""`garage machine explain`, and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from garage.client import output
from garage.client.completing import IMAGE, MACHINE
from garage.client.output import Item, local_time
from garage.client.state import Cli, Command, pass_cli
from garage.client.words import N_, _

PARTS = {
    "pool": N_("one waits there"),
    "image": N_("the image is there"),
    "spread": N_("memory left free"),
    "pack": N_("memory used"),
}
LACKS = {
    "state": N_("take no machines"),
    "silent": N_("do not answer"),
    "away": N_("have a hypervisor that does not answer"),
    "unknown": N_("have not been looked at"),
    "labels": N_("have not the labels"),
    "apart": N_("have one of those that are kept apart"),
    "disk": N_("have too little free disk"),
    "promised": N_("have promised too much disk"),
    "memory": N_("have too little memory"),
    "vcpus": N_("have too few vCPUs"),
}


def labels(given: Sequence[str]) -> dict[str, str]:
    """KEY=VALUE words; what stands in them is checked by the controller."""
    found = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals:
            raise click.BadParameter(_("a label is KEY=VALUE"), param_hint="KEY=VALUE")
        found[key] = value
    return found


@click.command(
    cls=Command, help=_("Why a machine is where it is; without NAME: where one would go, and what each node lacks.")
)
@click.argument("name", default="", type=MACHINE)
@click.option("--size", help=_("How large; “garage machine sizes” shows them."))
@click.option("--image", type=IMAGE, help=_("What it boots; “garage image list” shows them."))
@click.option("--project", help=_("Whose it is (default: your own project)."))
@click.option("--apart", metavar="WORD", help=_("Not on a node with another machine of the project with this word."))
@click.option("--label", "wanted", metavar="KEY=VALUE", multiple=True, help=_("A label that its node must have."))
@pass_cli
def explain(
    cli: Cli,
    name: str,
    size: str | None,
    image: str | None,
    project: str | None,
    apart: str | None,
    wanted: tuple[str, ...],
) -> None:
    wish = {"size": size, "image": image, "project": project, "apart": apart, "node_label": list(wanted)}
    if name and any(wish.values()):
        raise click.UsageError(_("give the name of a machine, or say what one would be like"))
    found = cli.api().get(f"/machines/{name}/explain") if name else cli.api().get("/placement", **wish)
    if cli.json:
        output.print_json(found)
    elif name:
        _show_machine(cli, found)
    else:
        _show_outlook(cli, found)


def _show_machine(cli: Cli, found: Item) -> None:
    then = found["then"]
    click.echo(_("{name} is on {node} since {time}.").format(**found, time=local_time(found["placed_at"])))
    if then:
        click.echo(_("Then {fitting} nodes had room; {node} was best: {why}.").format(
            fitting=then["fitting"], node=found["node"], why=_score(then["parts"])
        ))  # fmt: skip
        if second := then["second"]:
            click.echo(_("Next best was {node}: {why}.").format(node=second["node"], why=_score(second["parts"])))
    else:
        click.echo(_("Why it was placed there is not known."))
    if found["now"]:
        click.echo()
        click.echo(_("If it were placed now:"))
        _show_outlook(cli, found["now"])


def _show_outlook(cli: Cli, found: Item) -> None:
    columns = (
        (_("NODE"), lambda item: f"{item['node']} *" if item["here"] else item["node"]),
        (_("SCORE"), lambda item: f"{item['score']:.2f}" if item["fits"] else "-"),
        (_("WHY"), lambda item: _score(item["parts"]) if item["fits"] else "; ".join(x["text"] for x in item["lacks"])),
    )
    output.show_list(cli, found["nodes"], columns, empty=_("there are no nodes"))
    some, none = (
        _("{fitting} of {total} nodes have room; it would go to {node}."),
        _("None of {total} nodes can take it."),
    )
    click.echo((some if found["node"] else none).format(**found))
    if found["total"] > len(found["nodes"]):
        counts = (f"{count} {_(LACKS[what])}" for what, count in found["lacking"].items())
        click.echo(_("Of all nodes: {counts}.").format(counts=", ".join(counts)))


def _score(parts: Mapping[str, Any]) -> str:
    return " + ".join(f"{_(PARTS[name])} {value:.2f}" for name, value in parts.items())


@click.command(cls=Command, help=_("Label a node; KEY= removes one (admin)."))
@click.argument("node")
@click.argument("changes", metavar="KEY=VALUE…", nargs=-1, required=True)
@pass_cli
def label(cli: Cli, node: str, changes: tuple[str, ...]) -> None:
    found = cli.api().patch(f"/nodes/{node}/labels", {"labels": labels(changes)})
    output.done(cli, found, f"{node}: {output.labels(found['labels']) or _('no labels')}")
