"""`garage node`."""

from __future__ import annotations

import click

from garage.client import output
from garage.client.commands import adding
from garage.client.commands.drain import NODE_STATES, activate, drain, maintenance
from garage.client.commands.explain import label
from garage.client.output import Item
from garage.client.state import Cli, Group, pass_cli
from garage.client.words import N_, _


@click.group("node", cls=Group, help=_("The servers that machines run on."))
def node() -> None:
    pass


@node.command("list", help=_("Nodes with what is free on them."))
@pass_cli
def node_list(cli: Cli) -> None:
    columns = (
        (_("NAME"), lambda item: item["name"]),
        (_("STATE"), _node_state),
        (_("MACHINES"), lambda item: item["machines"]),
        (_("FREE VCPU"), lambda item: f"{item['free_vcpus']} / {item['most']['vcpus']}"),
        (_("FREE MEMORY"), lambda item: f"{item['free_memory_mib'] / 1024:.1f} / {item['memory_mib'] / 1024:.1f} GiB"),
        (_("FREE DISK"), lambda item: f"{item['disk_free_gib']:.0f} / {item['disk_total_gib']:.0f} GiB"),
        (_("RUNS"), lambda item: item["virtualisation"]),
        (_("LABELS"), lambda item: output.labels(item["labels"])),
    )
    output.show_list(cli, cli.api().every("/nodes"), columns)


SILENCES = {
    "hypervisor": N_("its libvirt does not answer"),
    "netd": N_("its netd does not answer"),
    "both": N_("silent"),
}


def _node_state(item: Item) -> str:
    """What the admin wants of it, and what is wrong with it."""
    wanted = "" if item["state"] == "active" else _(NODE_STATES[item["state"]])
    wrong = _(SILENCES[item["silence"]]) if item["silence"] else item["netd_error"]
    return "; ".join(text for text in (wanted, wrong) if text) or _("all well")


for command in (label, drain, activate, maintenance):
    node.add_command(command)


for command in adding.COMMANDS:
    node.add_command(command)
