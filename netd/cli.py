"""The `netd` command."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from pathlib import Path

from netd import config as configuration
from netd import overlay_cli, status
from netd.config import Config
from netd.core.status_text import plan_text, status_text
from netd.daemon import Daemon
from netd.errors import NetdError
from netd.node import Node
from netd.shell.shaping import Tc
from netd.wire import SpecError


def main() -> None:
    """Entry point; exits with the error table's code."""
    arguments = _parser().parse_args()
    logging.basicConfig(
        level=logging.DEBUG if arguments.verbose else logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(message)s",
    )
    try:
        _require_root()
        if bare := getattr(arguments, "act_bare", None) or getattr(arguments, "act_lab", None):
            bare(arguments)  # works without settings
        else:
            arguments.act(configuration.load(arguments.config), arguments)
    except NetdError as error:
        print(f"netd: {error}", file=sys.stderr)
        sys.exit(error.exit)
    except SpecError as error:
        print(f"netd: {error.code}: {error.text}", file=sys.stderr)
        sys.exit(38)


def _require_root() -> None:
    if os.geteuid() != 0:
        raise NetdError("not_root", "netd needs root", hint="try: sudo netd …")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="netd", description="Keeps this server's garage network as its controller wants it."
    )
    home = Path(os.environ.get("GARAGE_HOME", "/var/lib/garage"))
    parser.add_argument("--verbose", action="store_true", help="log every command")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    ours = []
    for name, act, text in (
        ("run", _run, "follow the controller until SIGTERM"),
        ("status", _status, "what is in force"),
        ("plan", _plan, "show what the authorities' newest documents would change, and change nothing"),
        ("down", _down, "remove bridge, filters and daemons"),
    ):
        command = commands.add_parser(name, help=text)
        command.set_defaults(act=act)
        ours.append(command)
    if sys.argv[1:2] != ["run"]:  # the daemon stays small
        from netd import doctor_cli

        ours.append(doctor_cli.add_command(commands))
    for command in (*ours, *overlay_cli.add_commands(commands)):
        command.add_argument("--config", type=Path, default=home / "netd" / "netd.toml")
        command.add_argument("-o", "--output", choices=("text", "json"), default="text")
    if sys.argv[1:2] != ["run"]:  # the daemon stays small
        from netd.lab.cli import add_commands

        add_commands(commands)
    return parser


def _run(config: Config, _arguments: argparse.Namespace) -> None:
    Daemon(config).run()


def _status(config: Config, arguments: argparse.Namespace) -> None:
    shown = status.status(config)
    print(json.dumps(shown) if arguments.output == "json" else status_text(shown, time.time()))


def _plan(config: Config, arguments: argparse.Namespace) -> None:
    shown = status.plan(config)
    print(json.dumps(shown) if arguments.output == "json" else plan_text(shown, whole=arguments.verbose))


def _down(config: Config, _arguments: argparse.Namespace) -> None:
    Tc(config.state_dir).stop()
    Node(config).down()


if __name__ == "__main__":
    main()
