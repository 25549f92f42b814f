"""`garage`: the composition root of the client. Commands are imported when they are run, so that `garage proxy` starts quickly."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from garage import __version__
from garage.client.errors import ClientError
from garage.client.state import Cli, Lazy, output_option
from garage.client.words import _

_PACKAGE = "garage.client.commands"
COMMANDS: dict[str, tuple[str, str, str]] = {
    "login": (f"{_PACKAGE}.session", "login", _("sign in to a controller")),
    "logout": (f"{_PACKAGE}.session", "logout", _("sign out")),
    "status": (f"{_PACKAGE}.session", "status", _("who you are, and whether everything answers")),
    "machine": (f"{_PACKAGE}.machine", "machine", _("make and use machines")),
    "volume": (f"{_PACKAGE}.volume", "volume", _("disks that outlive machines")),
    "ssh": (f"{_PACKAGE}.ssh", "ssh", _("log in to a machine, or run a command on it")),
    "scp": (f"{_PACKAGE}.ssh", "scp", _("copy files to and from a machine")),
    "ssh-config": (f"{_PACKAGE}.ssh", "ssh_config", _("let plain ssh, rsync and editors reach NAME.garage")),
    "proxy": (f"{_PACKAGE}.ssh", "proxy", ""),
    "key": (f"{_PACKAGE}.people", "key", _("SSH keys")),
    "token": (f"{_PACKAGE}.people", "token", _("API tokens")),
    "session": (f"{_PACKAGE}.service", "session", _("browsers in which you are signed in")),
    "project": (f"{_PACKAGE}.people", "project", _("projects, members, quotas")),
    "user": (f"{_PACKAGE}.people", "user", _("people (admin)")),
    "image": (f"{_PACKAGE}.image", "image", _("images")),
    "node": (f"{_PACKAGE}.info", "node", _("servers")),
    "site": (f"{_PACKAGE}.site", "site", _("sites of the overlay (admin)")),
    "admin": (f"{_PACKAGE}.admin", "admin", _("pools of machines that wait (admin)")),
    "news": (f"{_PACKAGE}.news", "news", _("what concerns you")),
    "channel": (f"{_PACKAGE}.news", "channel", _("e-mail and webhooks for news")),
    "announcement": (f"{_PACKAGE}.announcement", "announcement", _("what stands at the top of every page")),
    "completion": (f"{_PACKAGE}.completion", "completion", _("complete commands in your shell")),
    "audit": (f"{_PACKAGE}.audit", "audit", _("who did what")),
}
"""(module, attribute, short help); without a short help the command is for programs."""


@click.command(
    cls=Lazy, table=COMMANDS, help=_("Machines at once, from anywhere that reaches your garage's controller.")
)
@click.option("--profile", metavar="NAME", help=_("Which controller, of those that you signed in to."))
@click.version_option(__version__, prog_name="garage")
@click.pass_context
def root(context: click.Context, profile: str | None) -> None:
    context.ensure_object(Cli).profile_name = profile


root.params.append(output_option())


def run(arguments: Sequence[str]) -> int:
    """The exit code: 0, or that of the error's kind (`garage.errors.KINDS`), 2 for a wrong command line, 130 for Ctrl-C."""
    cli = Cli()
    try:
        code = root.main(list(arguments), prog_name="garage", standalone_mode=False, obj=cli)
    except ClientError as error:
        from garage.client.output import show_error

        show_error(cli, error)
        return error.exit
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo(_("interrupted"), err=True)
        return 130
    except BrokenPipeError:
        return 0
    return code if isinstance(code, int) else 0


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
