"""What holds for every command of the CLI."""

from __future__ import annotations

from collections.abc import Iterator

import click

from garage.cli import root


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield " ".join(path), command
        return
    ctx = click.Context(command)
    for name in command.list_commands(ctx):
        found = command.get_command(ctx, name)
        assert found, name
        yield from leaves(found, (*path, name))


def test_every_command_takes_o_json_and_says_what_it_does() -> None:
    found = dict(leaves(root))
    assert {"ssh", "machine resize", "site links", "volume attach"} <= found.keys()
    assert [name for name, each in found.items() if not any("-o" in option.opts for option in each.params)] == []
    assert [name for name, each in found.items() if not each.help] == []
