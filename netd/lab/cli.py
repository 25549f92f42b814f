"""`netd lab up/status/exec/break/heal/down`. Also `python -m netd.lab.cli up …`, without netd's other commands."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from netd.errors import NetdError
from netd.lab import parse, show
from netd.lab.bringup import mend
from netd.lab.model import INTERNET
from netd.lab.places import inside
from netd.lab.removal import remove, remove_abandoned
from netd.lab.state import LabState, labs
from netd.lab.up import up
from netd.lab.world import World

CUT = {"loss": 1.0}
"""What `break` does to a line when nothing is said."""

Subparsers = Any
"""argparse's own type for this is private."""


def add_commands(subparsers: Subparsers) -> None:
    """Add `lab` with its commands. Each sets `act_lab(arguments)` and no `config`: a laboratory needs none."""
    lab = subparsers.add_parser("lab", help="a small internet of network namespaces on this server")
    commands = lab.add_subparsers(required=True, metavar="COMMAND")
    up_ = _command(
        commands, "up", _up, "build the sites, lines and NATs of a file and join the sites; a lab that is up stays"
    )
    up_.add_argument("topology", type=Path, metavar="TOPOLOGY.yaml", help="ready ones are in labs/")
    up_.add_argument("--name", help="another name than the file's, to have it twice")
    up_.add_argument("--bare", action="store_true", help="without registry, netd and machines")
    status = _command(commands, "status", _status, "addresses, lines, what is broken, processes and links")
    status.add_argument("lab", nargs="?", help="needed when several are up")
    status.add_argument("-o", "--output", choices=("text", "json"), default="text")
    run = _command(
        commands, "exec", _exec, f"run a command at a node, a machine or {INTERNET!r}: exec NODE -- COMMAND …"
    )
    run.add_argument("node", help="NODE, SITE, NODE/vm1 or internet")
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND …")
    broken = _command(commands, "break", _break, "make a line worse; cut it when nothing is said")
    broken.add_argument("line")
    for name, text in (("loss", "100%%"), ("delay", "300ms"), ("jitter", "20ms"), ("rate", "1Mb/s")):
        broken.add_argument(f"--{name}", help=f"e.g. {text}")
    broken.add_argument("--down", action="store_true", help="cut it, as when nothing is said")
    heal = _command(
        commands, "heal", _heal, "a line, or all lines, as the topology says; without one, starts again what died, too"
    )
    heal.add_argument("line", nargs="?")
    for command in (run, broken, heal):
        command.add_argument("--lab", help="needed when several are up")
    down = _command(commands, "down", _down, "remove a lab, also one that was left half built")
    down.add_argument("lab", nargs="?", help="needed when several are up")


def _command(
    commands: Subparsers, name: str, act: Callable[[argparse.Namespace], None], text: str
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text)
    command.set_defaults(act_lab=act)
    return command


def _up(arguments: argparse.Namespace) -> None:
    topology = parse.load(arguments.topology)
    name = parse.label("--name", arguments.name, parse.LAB_LENGTH) if arguments.name else None
    _say(up(topology, name, bare=arguments.bare))


def _status(arguments: argparse.Namespace) -> None:
    remove_abandoned()
    names = [arguments.lab] if arguments.lab else _kept()
    shown = [show.describe(name) for name in names]
    if arguments.output == "json":
        _say(json.dumps({"items": shown}))
    else:
        _say("\n\n".join(show.text(lab) for lab in shown) or "no lab is up")


def _exec(arguments: argparse.Namespace) -> None:
    words = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not words:
        raise NetdError("config", "no command was given", hint=f"netd lab exec {arguments.node} -- ping 192.0.2.1")
    argv, environment = inside(World.attach(_lab(arguments.lab)), arguments.node, words)
    sys.stdout.flush()
    os.execvpe(argv[0], argv, environment)  # noqa: S606 (the command is the user's own, without a shell)


def _break(arguments: argparse.Namespace) -> None:
    world = World.attach(_lab(arguments.lab))
    given = {key: getattr(arguments, key) for key in parse.SHAPES if getattr(arguments, key) is not None}
    wanted = {key: parse.quantity(f"--{key}", key, text) for key, text in given.items()} or CUT
    wanted |= CUT if arguments.down else {}
    world.break_line(arguments.line, **wanted)
    _say(f"{arguments.line}: {show.impairment(world, arguments.line)}")


def _heal(arguments: argparse.Namespace) -> None:
    world = World.attach(_lab(arguments.lab))
    world.heal(arguments.line)
    for started in [] if arguments.line else mend(world):
        _say(f"started again: {started}")
    _say(f"{arguments.line}: {show.impairment(world, arguments.line)}" if arguments.line else "all lines are healed")


def _down(arguments: argparse.Namespace) -> None:
    name = _lab(arguments.lab)
    _say(f"lab {name} is down" if remove(name) else f"there was no lab {name}")


def _lab(given: str | None) -> str:
    """The lab that is meant: the only one, when none is named."""
    names = _kept()
    if given:
        return parse.label("lab", given, parse.LAB_LENGTH)
    if len(names) != 1:
        raise NetdError(
            "config",
            "several labs are up" if names else "no lab is up",
            hint=f"say which: {', '.join(names)}" if names else "netd lab up labs/two-sites.yaml",
        )
    return names[0]


def _kept() -> list[str]:
    """Labs of the command line: a running test's end with it, and are meant only when they are named."""
    return [name for name in labs() if not LabState(name).read().get("owner")]


def _say(text: str) -> None:
    print(text, flush=True)


def _require_root() -> None:
    if os.geteuid() != 0:
        raise NetdError("not_root", "a laboratory needs root", hint="try: sudo netd lab …")


def main() -> NoReturn:
    """Entry point without netd's configuration; exits with the error table's code."""
    parser = argparse.ArgumentParser(prog="netd")
    parser.add_argument("--verbose", action="store_true", help="log every command")
    add_commands(parser.add_subparsers(required=True, metavar="COMMAND"))
    arguments = parser.parse_args(["lab", *sys.argv[1:]])
    logging.basicConfig(level=logging.DEBUG if arguments.verbose else logging.INFO, stream=sys.stderr)
    try:
        _require_root()
        arguments.act_lab(arguments)
    except NetdError as error:
        print(f"netd: {error}", file=sys.stderr)
        sys.exit(error.exit)
    sys.exit(0)


if __name__ == "__main__":
    main()
