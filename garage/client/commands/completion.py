"""`garage completion`: what a shell reads to complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from garage.client.state import Cli, Command, pass_cli
from garage.client.words import _

VARIABLE = "_GARAGE_COMPLETE"
"""By which the shell asks us for completions; click's own name for it."""


@click.command(
    "completion",
    cls=Command,
    help=_('Print what makes a shell complete “garage”; for bash: eval "$(garage completion bash)".'),
)
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@pass_cli
def completion(_cli: Cli, shell: str) -> None:
    from garage.cli import root

    found = get_completion_class(shell)
    if found is not None:
        click.echo(found(root, {}, "garage", VARIABLE).source())
