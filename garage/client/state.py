"""What all commands share: the chosen output, the profile, one connection; and click classes that give every command `-o`."""

from __future__ import annotations

import importlib
import math
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from garage.client import profiles
from garage.client.words import _

if TYPE_CHECKING:
    from garage.client.api import Api


class Cli:
    """One run of the command."""

    def __init__(self) -> None:
        self.output = "table"
        self.profile_name: str | None = None
        self._api: Api | None = None

    @property
    def json(self) -> bool:
        return self.output == "json"

    def profile(self) -> profiles.Profile:
        return profiles.find(self.profile_name, os.environ)

    def api(self) -> Api:
        """The connection; raises `not_signed_in` where there is no profile or no token."""
        if self._api is None:
            from garage.client.api import Api
            from garage.client.errors import local_error

            profile = self.profile()
            if not profile.token:
                hint = "garage login {url}"
                raise local_error("not_signed_in", "you are not signed in to {url}", hint=hint, url=profile.url)
            self._api = Api(profile)
        return self._api

    def sure(self, question: str) -> None:
        """Go on only after a yes; where nobody can answer, say how a script does."""
        try:
            yes = click.confirm(question, err=True)
        except click.Abort:
            if sys.stdin.isatty():
                raise
            click.echo(err=True)  # ends the question's line
            raise click.UsageError(_("nobody is there to answer: --yes says yes")) from None
        if not yes:
            raise click.Abort


class Finite(click.FloatRange):
    """A number that can travel in JSON: `float` alone takes nan, which is within every range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found: float = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return found


DAYS = Finite(min=0, min_open=True)

pass_cli = click.make_pass_decorator(Cli)


def _chosen(context: click.Context, _parameter: click.Parameter, value: str | None) -> None:
    if value:
        context.ensure_object(Cli).output = value


def output_option() -> click.Option:
    """`-o json` on the command line's every level."""
    return click.Option(
        ["-o", "--output"],
        type=click.Choice(["table", "json"]),
        expose_value=False,
        callback=_chosen,
        help=_("table for people, json for programs"),
    )


class _Shown(click.Command):
    """How it stands in its group's help."""

    def get_short_help_str(self, limit: int = 45) -> str:
        """A Japanese text has no spaces at which click could cut it: its first sentence is shown."""
        sentence, mark, _rest = (self.help or "").partition("。")
        return sentence if mark else super().get_short_help_str(limit)


class Command(_Shown):
    """A command that takes `-o`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.ignore_unknown_options:
            self.params.append(output_option())


class Group(_Shown, click.Group):
    """A group whose commands take `-o`, and which shows them in the order in which they were written."""

    command_class = Command
    group_class = type

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  (click's signature)
        return list(self.commands)


class Lazy(Group):
    """Commands by name as (module, attribute, short help): a module is imported when its command is run, help needs none."""

    def __init__(self, *args: Any, table: dict[str, tuple[str, str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._table = table

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in self._table:
            return None
        module, attribute, _short = self._table[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section(_("Commands")):
            formatter.write_dl([(name, short) for name, (_m, _a, short) in self._table.items() if short])
